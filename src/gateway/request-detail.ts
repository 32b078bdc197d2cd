import { isObject, type Json } from "../kernel/json.ts";

/** Characters of all texts in one detail; more is cut off. A diff or a tool's arguments can be as large as a frame. */
const maxText = 64 * 1024;
const maxItems = 5_000;
const maxName = 200;
/** Nobody reads further down, and whoever walks through it has a stack. */
const maxDepth = 100;

const cutName = (name: string): string => (name.length > maxName ? `${name.slice(0, maxName)}…` : name);

/** What a runtime says of its question, cut to a size that can be kept and told. */
export const boundedDetail = (detail: unknown): Json => {
  let text = maxText;
  let items = maxItems;
  const cutText = (value: string): string => {
    const kept = value.slice(0, Math.max(text, 0));
    text -= kept.length;
    return kept.length < value.length ? `${kept}…` : value;
  };
  const cut = (value: unknown, depth: number): Json => {
    items--;
    if (typeof value === "string") return cutText(value);
    if (depth > maxDepth)
      return typeof value === "object" && value !== null ? "…" : ((value ?? null) as Json);
    if (Array.isArray(value)) return value.slice(0, Math.max(items, 0)).map((inner) => cut(inner, depth + 1));
    if (!isObject(value)) return (value ?? null) as Json;
    const kept = Object.entries(value).slice(0, Math.max(items, 0));
    return Object.fromEntries(kept.map(([key, inner]) => [cutName(key), cut(inner, depth + 1)]));
  };
  return cut(detail, 0);
};
