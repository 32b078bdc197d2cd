import { isObject } from "../kernel/json.ts";

/** Replaces an id that one side knows by the one that the other side knows; `undefined` leaves it as it is. */
export type IdMap = (id: string) => string | undefined;

const replace = (value: unknown, keys: readonly string[], map: (value: unknown) => unknown): unknown => {
  const [key, ...rest] = keys;
  if (key === undefined) return map(value);
  if (key === "[]") {
    if (!Array.isArray(value)) return value;
    const items = value.map((item) => replace(item, rest, map));
    return items.some((item, at) => item !== value[at]) ? items : value;
  }
  if (!isObject(value) || !Object.hasOwn(value, key)) return value;
  const changed = replace(value[key], rest, map);
  return changed === value[key] ? value : { ...value, [key]: changed };
};

const keysOf = (path: string): readonly string[] => path.replaceAll("[]", ".[]").split(".");

/** The value with what stands at `path` (`a.b`, `[]` for each item of a list) replaced; the same value when nothing changes. */
export const withValues = (value: unknown, path: string, map: (value: unknown) => unknown): unknown =>
  replace(value, keysOf(path), map);

/** The value with the ids at `path` replaced. */
export const withIds = (value: unknown, path: string, map: IdMap): unknown =>
  withValues(value, path, (found) => (typeof found === "string" ? (map(found) ?? found) : found));
