import { isObject } from "../kernel/json.ts";
import type { Path } from "./keys.ts";

/** Puts `over` on `base` key by key. Lists are replaced, and an empty section (null) changes nothing. */
export const merge = (base: unknown, over: unknown): unknown => {
  if (over === undefined || (over === null && isObject(base))) return base;
  if (!isObject(base) || !isObject(over)) return over;
  // A map, so that a key called `__proto__` is one like any other.
  const merged = new Map<string, unknown>(Object.entries(base));
  for (const [key, value] of Object.entries(over)) merged.set(key, merge(merged.get(key), value));
  return Object.fromEntries(merged);
};

/** What a layer says at the path; `undefined` when it says nothing. */
export const valueAt = (layer: unknown, path: Path): unknown => {
  let value = layer;
  for (const step of path) {
    if (Array.isArray(value) && typeof step === "number") value = value[step];
    else if (isObject(value) && Object.hasOwn(value, step)) value = value[step];
    else return undefined;
  }
  return value;
};

/** A layer that says only this. */
export const layerOf = (path: Path, value: unknown): unknown =>
  path.reduceRight<unknown>((inner, step) => Object.fromEntries([[step, inner]]), value);
