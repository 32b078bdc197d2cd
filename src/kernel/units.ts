const durations: Readonly<Record<string, number>> = {
  ms: 1,
  s: 1_000,
  m: 60_000,
  h: 3_600_000,
  d: 86_400_000,
};
const sizes: Readonly<Record<string, number>> = {
  B: 1,
  KiB: 2 ** 10,
  MiB: 2 ** 20,
  GiB: 2 ** 30,
  TiB: 2 ** 40,
};

/** For messages about text that is not a duration, or not a size. */
export const durationForm = "a duration such as 60s, 5m or 2h";
export const sizeForm = "a size such as 512KiB, 64MiB or 2GiB";

const parse = (text: string, units: Readonly<Record<string, number>>): number | undefined => {
  const [, digits, unit] = /^(\d{1,15}) ?([A-Za-z]+)$/.exec(text) ?? [];
  const factor = unit !== undefined && Object.hasOwn(units, unit) ? units[unit] : undefined;
  const value = factor === undefined ? undefined : Number(digits) * factor;
  return value !== undefined && Number.isSafeInteger(value) ? value : undefined;
};

const format = (value: number, units: Readonly<Record<string, number>>): string => {
  const all = Object.entries(units);
  const [unit, factor] = (value === 0 ? all[0] : all.findLast(([, of]) => value % of === 0)) ?? ["", 1];
  return `${value / factor}${unit}`;
};

/** Milliseconds of `60s`, `5m`, `2h`…; `undefined` for anything else, a number without a unit too. */
export const parseDuration = (text: string): number | undefined => parse(text, durations);

/** Bytes of `256MiB`, `1GiB`…; `undefined` for anything else, a number without a unit too. */
export const parseSize = (text: string): number | undefined => parse(text, sizes);

/** The shortest text that `parseDuration` reads as so many milliseconds. */
export const formatDuration = (ms: number): string => format(ms, durations);

/** The shortest text that `parseSize` reads as so many bytes. */
export const formatSize = (bytes: number): string => format(bytes, sizes);
