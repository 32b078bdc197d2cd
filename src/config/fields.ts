import { z } from "zod";
import { Secret } from "../kernel/secret.ts";
import {
  durationForm,
  formatDuration,
  formatSize,
  parseDuration,
  parseSize,
  sizeForm,
} from "../kernel/units.ts";

/** The longest time that a timer of Node can wait. */
const maxDurationMs = 24 * 86_400_000;

const expected = (what: string) => ({ error: `expected ${what}` });

/** A group of keys. Absent or empty (`sdk:` and nothing under it) it has all its defaults. */
export const section = <Shape extends z.core.$ZodLooseShape>(shape: Shape) =>
  z.preprocess((value) => value ?? {}, group(shape));

/** A group of keys that is not there unless it is written. */
export const group = <Shape extends z.core.$ZodLooseShape>(
  shape: Shape,
  what = `a section with ${Object.keys(shape).join(", ")}`,
) => z.strictObject(shape, expected(what));

export const text = (what: string, pattern = /./s) => z.string(expected(what)).regex(pattern, expected(what));

export const secret = (what: string, pattern?: RegExp) =>
  text(what, pattern).transform((value) => new Secret(value));

export const choice = <const Values extends readonly string[]>(...values: Values) =>
  z.enum(values, expected(`one of ${values.join(", ")}`));

export const list = <Item extends z.ZodType>(item: Item, what: string, max = 10_000) =>
  z.array(item, expected(what)).max(max, expected(`at most ${max} entries`));

/** A section whose keys the operator chooses. Empty (null) it has none. */
export const map = <Value extends z.ZodType>(value: Value, what: string, keys = /^/) =>
  z.preprocess((written) => written ?? {}, z.record(text(what, keys), value, expected(what)));

/** Variables and `${…}` give text where the file has numbers. */
const fromText = (value: unknown): unknown =>
  typeof value === "string" && /^-?\d+(\.\d+)?$/.test(value) ? Number(value) : value;

export const whole = (min: number, max: number) => {
  const what = expected(`a whole number from ${min} to ${max}`);
  return z.preprocess(fromText, z.int(what).min(min, what).max(max, what));
};

export const fraction = (min: number, max: number) => {
  const what = expected(`a number from ${min} to ${max}`);
  return z.preprocess(fromText, z.number(what).min(min, what).max(max, what));
};

export const yesOrNo = () =>
  z.preprocess(
    (value) => (value === "true" ? true : value === "false" ? false : value),
    z.boolean(expected("true or false")),
  );

const unit = (
  what: string,
  parse: (text: string) => number | undefined,
  [min, max]: readonly [number, number],
) =>
  z.string(expected(what)).transform((value, context) => {
    const parsed = parse(value);
    if (parsed !== undefined && parsed >= min && parsed <= max) return parsed;
    context.addIssue({ code: "custom", message: `expected ${what}` });
    return z.NEVER;
  });

/** Milliseconds. One that no single timer waits for may be longer than Node's timers can. */
export const duration = (minMs = 1, maxMs = maxDurationMs) =>
  unit(`${durationForm}, from ${formatDuration(minMs)} to ${formatDuration(maxMs)}`, parseDuration, [
    minMs,
    maxMs,
  ]);

/** Bytes. */
export const size = (min: number, max: number) =>
  unit(`${sizeForm}, from ${formatSize(min)} to ${formatSize(max)}`, parseSize, [min, max]);
