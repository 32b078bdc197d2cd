import { parse } from "yaml";
import type { z } from "zod";
import { formatPath, kindOf, type Path } from "./keys.ts";
import { layerOf, merge } from "./layers.ts";
import type { Problem } from "./problems.ts";
import { fileSchema } from "./schema.ts";
import { didYouMean } from "./suggest.ts";

/** A key of the configuration as the environment calls it. */
export interface Variable {
  readonly name: string;
  readonly path: Path;
  /** Lists and sections are written as JSON or YAML, everything else as it is. */
  readonly structured: boolean;
}

/** `SQUADRON_`, then the key's path in capitals: `defaults.limits.turnTimeout` is `SQUADRON_DEFAULTS_LIMITS_TURN_TIMEOUT`. */
const variableName = (path: Path): string =>
  ["SQUADRON", ...path.map((step) => String(step).replace(/[A-Z]/g, "_$&").toUpperCase())].join("_");

const variablesUnder = (schema: z.core.$ZodType, path: Path): Variable[] => {
  const kind = kindOf(schema);
  const own =
    path.length === 0 ? [] : [{ name: variableName(path), path, structured: kind.kind !== "value" }];
  if (kind.kind !== "section") return own;
  return [
    ...own,
    ...Object.entries(kind.keys).flatMap(([key, value]) => variablesUnder(value, [...path, key])),
  ];
};

/** Every variable that is read. A section comes before what is in it, so that the narrower one wins. */
export const variables: readonly Variable[] = variablesUnder(fileSchema, []);

const prefixes = variables.filter(({ path }) => path.length === 1).map(({ name }) => name);

/** What the environment says, with the variables that said it. An empty variable is not set. */
export const readEnvironment = (
  env: NodeJS.ProcessEnv,
): { readonly layer: unknown; readonly set: readonly Variable[]; readonly problems: readonly Problem[] } => {
  const set = variables.filter(({ name }) => (env[name] ?? "") !== "");
  const known = new Set(variables.map(({ name }) => name));
  // Not every SQUADRON_ variable is ours to judge: deployments have their own, for ${env:…} and for clients.
  const strangers = Object.keys(env).filter(
    (name) => !known.has(name) && prefixes.some((prefix) => name.startsWith(`${prefix}_`)),
  );
  const problems: Problem[] = strangers.map((name) => ({
    where: name,
    message: `is no key of the configuration${didYouMean(name, [...known])}`,
  }));
  let layer: unknown;
  for (const { name, path, structured } of set) {
    const written = env[name] ?? "";
    try {
      layer = merge(
        layer,
        layerOf(path, structured ? parse(written, { prettyErrors: false, logLevel: "error" }) : written),
      );
    } catch {
      problems.push({ where: name, message: `expected JSON or YAML for ${formatPath(path)}` });
    }
  }
  return { layer, set, problems };
};
