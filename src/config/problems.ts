import type { z } from "zod";
import { SquadronError } from "../kernel/errors.ts";
import { formatPath, kindOf, type Path, schemaAt } from "./keys.ts";
import { valueAt } from "./layers.ts";
import { didYouMean } from "./suggest.ts";

/** One thing that is wrong. No value is ever repeated: it could be a secret. */
export interface Problem {
  /** `squadron.yaml line 3, sdk.port`, or the variable that says it. */
  readonly where: string;
  readonly message: string;
}

/** A problem of a key, before it is known who said it. */
export interface KeyProblem {
  readonly path: Path;
  readonly message: string;
}

const asPath = (path: readonly PropertyKey[]): Path =>
  path.map((step) => (typeof step === "symbol" ? String(step) : step));

/** Zod's issues in the words of the configuration. `value` is what was checked against `schema`. */
export const keyProblems = (
  schema: z.core.$ZodType,
  value: unknown,
  issues: readonly z.core.$ZodIssue[],
): KeyProblem[] =>
  issues.flatMap((issue) => {
    const path = asPath(issue.path);
    const at = schemaAt(schema, path);
    const kind = at && kindOf(at);
    if (issue.code === "unrecognized_keys") {
      const known = kind?.kind === "section" ? Object.keys(kind.keys) : [];
      return issue.keys.map((key) => ({
        path: [...path, key],
        message: `unknown key${didYouMean(key, known)}`,
      }));
    }
    if (issue.code === "invalid_key") {
      return [{ path, message: issue.issues[0] ? `wrong key: ${issue.issues[0].message}` : issue.message }];
    }
    const written = valueAt(value, path);
    if (written === undefined) return [{ path, message: `is missing: ${issue.message}` }];
    const hint =
      kind?.kind === "value" && typeof written === "string" ? didYouMean(written, kind.choices) : "";
    return [{ path, message: issue.message + hint }];
  });

/** The one error for everything that is wrong with a configuration. */
export const configError = (problems: readonly Problem[]): SquadronError => {
  const lines = problems.map(({ where, message }) => `${where}: ${message}`);
  const title =
    lines.length === 1 ? "The configuration has a problem" : `The configuration has ${lines.length} problems`;
  return new SquadronError("config_invalid", `${title}:\n${lines.map((line) => `  ${line}`).join("\n")}`, {
    details: { problems: lines },
  });
};

/** Says who wrote a key: an option, a variable, or a line of the file. */
export type Locate = (path: Path) => string;

export const locator =
  (sources: {
    readonly overrides: unknown;
    readonly variables: readonly { readonly name: string; readonly path: Path }[];
    readonly file: { readonly name: string; lineOf(path: Path): number | undefined } | undefined;
  }): Locate =>
  (path) => {
    const key = formatPath(path);
    if (valueAt(sources.overrides, path) !== undefined) return `options, ${key}`;
    const variable = sources.variables.findLast(({ path: of }) => of.every((step, at) => path[at] === step));
    if (variable !== undefined)
      return key === formatPath(variable.path) ? variable.name : `${variable.name}, ${key}`;
    const line = sources.file?.lineOf(path);
    return sources.file === undefined || line === undefined
      ? key
      : `${sources.file.name} line ${line}, ${key}`;
  };
