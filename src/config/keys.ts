import { z } from "zod";

export type Path = readonly (string | number)[];

/** What a key holds, as far as its name in the environment and the hints need to know. */
export type Kind =
  | { readonly kind: "section"; readonly keys: Readonly<Record<string, z.core.$ZodType>> }
  | { readonly kind: "collection"; readonly item: z.core.$ZodType }
  | { readonly kind: "value"; readonly choices: readonly string[] };

export const kindOf = (schema: z.core.$ZodType): Kind => {
  if (schema instanceof z.ZodObject) return { kind: "section", keys: schema.shape };
  if (schema instanceof z.ZodArray) return { kind: "collection", item: schema.element };
  if (schema instanceof z.ZodRecord) return { kind: "collection", item: schema.valueType };
  if (schema instanceof z.ZodEnum) return { kind: "value", choices: schema.options.map(String) };
  if (schema instanceof z.ZodDefault || schema instanceof z.ZodExactOptional)
    return kindOf(schema.def.innerType);
  if (schema instanceof z.ZodPipe) {
    // Either a preprocessed schema or one whose result is transformed: the other half says nothing.
    return kindOf(schema.in instanceof z.ZodTransform ? schema.out : schema.in);
  }
  return { kind: "value", choices: [] };
};

/** The schema of what is at the path, if the path is of known keys. */
export const schemaAt = (root: z.core.$ZodType, path: Path): z.core.$ZodType | undefined => {
  let schema: z.core.$ZodType | undefined = root;
  for (const step of path) {
    if (schema === undefined) return undefined;
    const kind = kindOf(schema);
    if (kind.kind === "section") schema = Object.hasOwn(kind.keys, step) ? kind.keys[step] : undefined;
    else schema = kind.kind === "collection" ? kind.item : undefined;
  }
  return schema;
};

/** `auth.keys[0].tenant`. */
export const formatPath = (path: Path): string =>
  path.map((step, at) => (typeof step === "number" ? `[${step}]` : `${at > 0 ? "." : ""}${step}`)).join("");
