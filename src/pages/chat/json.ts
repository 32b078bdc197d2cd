/** An object of which nothing is known. */
export type Json = Readonly<Record<string, unknown>>;

export const record = (value: unknown): Json =>
  typeof value === "object" && value !== null && !Array.isArray(value) ? (value as Json) : {};
export const text = (value: unknown): string => (typeof value === "string" ? value : "");
export const list = (value: unknown): readonly unknown[] => (Array.isArray(value) ? value : []);

/** A value for people: a text as it is, anything else as indented JSON. */
export const shown = (value: unknown): string =>
  typeof value === "string" ? value : value === undefined ? "" : JSON.stringify(value, null, 2);
