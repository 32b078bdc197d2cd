import { dirname, resolve } from "node:path";
import { isObject } from "../kernel/json.ts";
import { buildConfig } from "./build.ts";
import type { Config } from "./config.ts";
import { readDocument } from "./document.ts";
import { readEnvironment } from "./environment.ts";
import { hostAccessProblems } from "./host-access.ts";
import { formatPath, type Path } from "./keys.ts";
import { merge, valueAt } from "./layers.ts";
import { isPrincipalName, principalNameForm } from "./principal-name.ts";
import { configError, type KeyProblem, keyProblems, locator } from "./problems.ts";
import { resolveReferences } from "./references.ts";
import { type FilePolicy, fileSchema, policySchema } from "./schema.ts";

/**
 * The configuration: defaults, then the file (`squadron.yaml`), then variables (`SQUADRON_…`), then `overrides`, which has
 * the shape of the file. Without `file` none is read. Relative paths start at the file's directory, else at the current one.
 * The result is frozen. Rejects with one `config_invalid` that lists everything that is wrong.
 */
export const loadConfig = async (options: {
  readonly file?: string;
  readonly env: NodeJS.ProcessEnv;
  readonly overrides?: unknown;
}): Promise<Config> => {
  const { env, overrides } = options;
  const file = options.file === undefined ? undefined : await readDocument(resolve(options.file));
  const base = options.file === undefined ? process.cwd() : dirname(resolve(options.file));
  const variables = readEnvironment(env);
  const locate = locator({ overrides, variables: variables.set, file });
  if (file !== undefined && file.problems.length > 0)
    throw configError([...file.problems, ...variables.problems]);

  const written = [file?.value, variables.layer, overrides].reduce<unknown>(merge, {});
  const references = await resolveReferences(written, { env, base });
  const checked = check(references.value);
  const unresolved = new Set(references.problems.map(({ path }) => formatPath(path)));
  const problems = [
    ...references.problems,
    ...checked.problems.filter(({ path }) => !unresolved.has(formatPath(path))),
  ].map(({ path, message }) => ({ where: locate(path), message }));
  problems.push(...variables.problems);
  if (problems.length > 0 || checked.kind === "wrong") throw configError(problems);
  return deepFreeze(buildConfig(checked.file, checked.tenants, base));
};

const below =
  (...prefix: string[]) =>
  ({ path, message }: KeyProblem): KeyProblem => ({ path: [...prefix, ...path], message });

const check = (value: unknown) => {
  const file = fileSchema.safeParse(value);
  const tenants = checkTenants(value);
  // As it is written, so that what is wrong elsewhere does not hide this.
  const sandbox = valueAt(value, ["runtimes", "sandbox", "kind"]) === "bubblewrap" ? "bubblewrap" : "none";
  const problems = [
    ...(file.error ? keyProblems(fileSchema, value, file.error.issues) : []),
    ...tenants.problems,
    ...(file.success ? hostAccessProblems(file.data.defaults, sandbox).map(below("defaults")) : []),
    ...[...tenants.policies].flatMap(([tenant, policy]) =>
      hostAccessProblems(policy, sandbox).map(below("tenants", tenant)),
    ),
  ];
  return file.success
    ? ({ kind: "right", file: file.data, tenants: tenants.policies, problems } as const)
    : ({ kind: "wrong", problems } as const);
};

/** Each tenant's policy is the defaults with its own keys put on them; what is wrong with the defaults is not said again. */
const checkTenants = (
  value: unknown,
): { readonly policies: ReadonlyMap<string, FilePolicy>; readonly problems: readonly KeyProblem[] } => {
  const policies = new Map<string, FilePolicy>();
  const problems: KeyProblem[] = [];
  const tenants = valueAt(value, ["tenants"]);
  if (!isObject(tenants)) return { policies, problems };
  const defaults = valueAt(value, ["defaults"]);
  for (const [tenant, own] of Object.entries(tenants)) {
    const path: Path = ["tenants", tenant];
    if (!isPrincipalName(tenant)) {
      problems.push({ path, message: `wrong key: expected a tenant's name: ${principalNameForm}` });
    }
    const whole = withTenant(defaults, own);
    const policy = policySchema.safeParse(whole);
    if (policy.success) policies.set(tenant, policy.data);
    else {
      const found = keyProblems(policySchema, whole, policy.error.issues);
      for (const { path: of, message } of found) {
        if (isOwn(own, whole, of)) problems.push({ path: [...path, ...of], message });
      }
    }
  }
  return { policies, problems };
};

/** What a tenant has of its own or not at all. */
const isWhole = ([first, second, name, ...inner]: Path): boolean =>
  (first === "provider" && second === undefined) ||
  (first === "httpSessions" && second === "mcpServers" && name !== undefined && inner.length === 0);

/** A provider is one thing, and so is an MCP server: a tenant's own address must never be called with the key of the defaults. */
const withTenant = (defaults: unknown, own: unknown, path: Path = []): unknown => {
  if (!isObject(defaults) || !isObject(own)) return merge(defaults, own);
  if (isWhole(path)) return own;
  return Object.fromEntries([
    ...Object.entries(defaults),
    ...Object.entries(own).map(([key, value]) => [key, withTenant(defaults[key], value, [...path, key])]),
  ]);
};

/** Is this of the tenant's own writing, or missing in a section that is? */
const isOwn = (own: unknown, whole: unknown, path: Path): boolean =>
  valueAt(own, path) !== undefined ||
  (valueAt(whole, path) === undefined && valueAt(own, path.slice(0, -1)) !== undefined);

const deepFreeze = <Value>(value: Value): Value => {
  if (typeof value !== "object" || value === null || Object.isFrozen(value)) return value;
  for (const inner of Object.values(value)) deepFreeze(inner);
  return Object.freeze(value);
};
