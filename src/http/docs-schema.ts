import { escaped, inline, list, record, string } from "./docs-html.ts";

/** JSON Schema, as far as our routes use it, in words and in rows. */
type Schema = Record<string, unknown>;

const isLimit = (value: unknown): value is number =>
  typeof value === "number" && Math.abs(value) < Number.MAX_SAFE_INTEGER;

const range = (least: unknown, most: unknown, what: string): readonly string[] => {
  const number = (value: number): string => value.toLocaleString("en");
  if (isLimit(least) && isLimit(most) && (least > 0 || what === ""))
    return [`${number(least)} to ${number(most)}${what}`];
  if (isLimit(most)) return [`at most ${number(most)}${what}`];
  return isLimit(least) && least > 0 ? [`at least ${number(least)}${what}`] : [];
};

const limitsOf = (schema: Schema): readonly string[] => [
  ...range(schema.minLength, schema.maxLength, " characters"),
  ...range(schema.minimum, schema.maximum, ""),
  ...range(schema.minItems, schema.maxItems, " of them"),
  ...(schema.default === undefined
    ? []
    : [`default <code>${escaped(JSON.stringify(schema.default))}</code>`]),
];

const formats: Readonly<Record<string, string>> = { "date-time": "date and time", byte: "base64 text" };

const kindOf = (schema: Schema): string => {
  const { $ref, enum: values, anyOf, type, items, format } = schema;
  if (typeof $ref === "string") {
    const name = escaped($ref.slice($ref.lastIndexOf("/") + 1));
    return `<a href="#schema-${name}">${name}</a>`;
  }
  if (Array.isArray(values))
    return values.map((value) => `<code>${escaped(JSON.stringify(value))}</code>`).join(" or ");
  if (Array.isArray(anyOf)) return anyOf.map((one) => kindOf(record(one))).join(" or ");
  if (type === "array") return `list of ${kindOf(record(items)).replace(/^(string|integer|object)$/, "$1s")}`;
  if (type === undefined) return "anything";
  return formats[string(format)] ?? escaped(string(type));
};

/** What a value may be, as HTML: its kind and its limits. */
export const typeWords = (schema: Schema): string => [kindOf(schema), ...limitsOf(schema)].join(", ");

/** The objects that a value may be or hold, and how their members are reached. */
const objectsIn = (
  schema: Schema,
  path: string,
): readonly { readonly path: string; readonly schema: Schema }[] => [
  ...(isPlain(schema.properties) ? [{ path: path === "" ? "" : `${path}.`, schema }] : []),
  ...(schema.items === undefined ? [] : objectsIn(record(schema.items), `${path}[]`)),
  ...list(schema.anyOf).flatMap((one) => objectsIn(record(one), path)),
];

const isPlain = (value: unknown): boolean => Object.keys(record(value)).length > 0;

const rowsOf = (schema: Schema, path: string, mark: Mark): string =>
  objectsIn(schema, path)
    .flatMap(({ path: before, schema: { properties, required } }) =>
      Object.entries(record(properties)).map(([name, value]) => {
        const inner = record(value);
        const isRequired = list(required).includes(name);
        const note = isRequired === (mark === "required") ? `, ${mark}` : "";
        const reached = `${before}${name}`;
        return `<tr><td><code>${escaped(reached)}</code></td><td>${typeWords(inner)}${note}</td><td>${inline(string(inner.description))}</td></tr>${rowsOf(inner, reached, mark)}`;
      }),
    )
    .join("");

/** Which members are told apart: those that a request must have, or those that an answer may lack. */
export type Mark = "required" | "optional";

/** A value as HTML: a table of its members, if it has any, else one line. */
export const schemaTable = (schema: Schema, mark: Mark): string => {
  const rows = rowsOf(schema, "", mark);
  const words = `<p>${typeWords(schema)}${schema.description === undefined ? "" : `: ${inline(string(schema.description))}`}</p>`;
  if (rows === "") return words;
  const isList = schema.type === "array" || schema.anyOf !== undefined;
  return `${isList ? words : ""}<table><tr><th>Member</th><th>Value</th><th>Meaning</th></tr>${rows}</table>`;
};
