import { type Json, list, record, text } from "./json.ts";

/** One thing that is to be filled in. */
export interface Field {
  readonly name: string;
  readonly title: string;
  readonly about: string;
  readonly kind: "text" | "number" | "yes" | "choice";
  readonly choices: readonly string[];
  readonly required: boolean;
  readonly initial: string;
}

const kindOf = ({ type }: Json, choices: readonly string[]): Field["kind"] => {
  if (choices.length > 0) return "choice";
  if (type === "boolean") return "yes";
  return type === "number" || type === "integer" ? "number" : "text";
};

/** The fields of a form as the runtime describes it. */
export const fieldsOf = (detail: Json): readonly Field[] => {
  const schema = record(detail.requestedSchema);
  const required = new Set(list(schema.required).map(text));
  return Object.entries(record(schema.properties)).map(([name, value]) => {
    const property = record(value);
    const choices = list(property.enum).map(String);
    return {
      name,
      title: text(property.title) || name,
      about: text(property.description),
      kind: kindOf(property, choices),
      choices,
      required: required.has(name),
      initial: property.default === undefined ? "" : String(property.default),
    };
  });
};

/** What was filled in, as the schema wants it. What was left empty is left out. */
export const valuesOf = (fields: readonly Field[], given: { get(name: string): unknown }): Json =>
  Object.fromEntries(
    fields.flatMap(({ name, kind }): [string, unknown][] => {
      const value = given.get(name);
      if (kind === "yes") return [[name, value !== null]];
      if (typeof value !== "string" || value === "") return [];
      return [[name, kind === "number" ? Number(value) : value]];
    }),
  );
