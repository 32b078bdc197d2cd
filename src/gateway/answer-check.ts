import { SquadronError } from "../kernel/errors.ts";
import { isObject, type Json } from "../kernel/json.ts";
import type { PersonalAnswer } from "./request-answers.ts";

const wrong = (field: string, message: string): SquadronError =>
  new SquadronError("invalid_request", `${field}: ${message}`, { details: { in: "body", field } });

const isOneOf = (value: unknown, allowed: unknown): boolean =>
  !Array.isArray(allowed) || allowed.includes(value);

/** Does a value fit a field of a form? The forms of the protocol are flat; their patterns are the asker's to check. */
const fits = (value: unknown, field: Record<string, unknown>): boolean => {
  if (!isOneOf(value, field.enum)) return false;
  switch (field.type) {
    case "string":
      return typeof value === "string";
    case "boolean":
      return typeof value === "boolean";
    case "number":
      return typeof value === "number";
    case "integer":
      return Number.isInteger(value);
    case "array": {
      const items = isObject(field.items) ? field.items : {};
      return Array.isArray(value) && value.every((item) => fits(item, items));
    }
    default:
      return true;
  }
};

const checkForm = (schema: Record<string, unknown>, content: Readonly<Record<string, unknown>>): void => {
  const required = Array.isArray(schema.required) ? schema.required.map(String) : [];
  for (const name of required)
    if (!Object.hasOwn(content, name)) throw wrong(`content.${name}`, "The form needs it.");
  const fields = isObject(schema.properties) ? schema.properties : {};
  for (const [name, value] of Object.entries(content)) {
    const field = Object.hasOwn(fields, name) ? fields[name] : undefined;
    if (!isObject(field)) throw wrong(`content.${name}`, "The form has no such field.");
    if (!fits(value, field)) throw wrong(`content.${name}`, "It is not what the form asks for.");
  }
};

/**
 * Throws `invalid_request` for an answer that does not fit the question. A runtime looks at none: it takes any, and the
 * question is over.
 */
export const checkAnswer = (detail: Json, answer: PersonalAnswer): void => {
  const asked = isObject(detail) ? detail : {};
  if (answer.kind === "user_input" && asked.allowFreeform === false && !isOneOf(answer.answer, asked.choices))
    throw wrong("answer", "It must be one of the choices.");
  if (answer.kind !== "elicitation") return;
  if (answer.action !== "accept") {
    if (answer.content !== undefined) throw wrong("content", "Only accept has one.");
  } else if (isObject(asked.requestedSchema)) checkForm(asked.requestedSchema, answer.content ?? {});
};
