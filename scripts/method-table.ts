/**
 * Merges the installed schema, the hand-kept supplement and the verdicts into `src/wire/method-table.generated.ts`
 * and `docs/methods.md`. With `--check` it writes nothing and fails with a list of what does not agree.
 */
import { readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import type { IdPositions, MethodEntry, ParamVerdict, Way } from "../src/wire/method-entry.ts";
import { verdictFiles } from "../src/wire/method-verdicts/all.ts";
import {
  idCorrections,
  type SupplementMethod,
  spreadCalls,
  supplement,
} from "../src/wire/method-verdicts/supplement.ts";
import type { Verdict, Verdicts } from "../src/wire/method-verdicts/verdict.ts";
import { readSources, type SchemaMethod, type Sources } from "./method-table-sources.ts";

export interface Inputs extends Sources {
  readonly verdicts: readonly Verdicts[];
  readonly supplement: Readonly<Record<string, SupplementMethod>>;
}

/** The inputs of the real table: what is installed, and the verdicts of the checkout. */
export const readInputs = (): Inputs => ({ ...readSources(spreadCalls), verdicts: verdictFiles, supplement });

/** Builds the table, and lists in plain words every disagreement between verdicts and protocol. */
export const buildTable = (
  inputs: Inputs,
): { readonly entries: readonly MethodEntry[]; readonly problems: readonly string[] } => {
  const problems: string[] = [];
  const verdicts = mergeVerdicts(inputs.verdicts, problems);
  const methods = mergeMethods(inputs, problems);
  for (const method of inputs.sdk.methods) {
    if (!methods.has(method))
      problems.push(`${method}: the SDK uses it, and neither the schema nor the supplement has it`);
  }
  for (const method of verdicts.keys()) {
    if (!methods.has(method)) problems.push(`${method}: has a verdict but exists no longer`);
  }
  const entries: MethodEntry[] = [];
  for (const [method, known] of methods) {
    const verdict = verdicts.get(method);
    if (verdict === undefined) {
      problems.push(`${method}: has no verdict (parameters: ${known.params.join(", ") || "none"})`);
      continue;
    }
    if (verdict.reason.trim() === "") problems.push(`${method}: its verdict has no reason`);
    if (verdict.withAll === "unit" && known.scope !== "global")
      problems.push(`${method}: names a session, so it goes to that one's runtime, not to the unit's`);
    if (verdict.withAll === "allow" && known.scope === "global" && !known.params.includes("sessionId"))
      problems.push(`${method}: names no session, so it cannot go to one's runtime`);
    entries.push(entryOf(method, known, verdict, inputs, problems));
  }
  entries.sort((a, b) => (a.method < b.method ? -1 : 1));
  return { entries, problems };
};

const mergeVerdicts = (files: readonly Verdicts[], problems: string[]): ReadonlyMap<string, Verdict> => {
  const merged = new Map<string, Verdict>();
  for (const file of files) {
    for (const [method, verdict] of Object.entries(file)) {
      if (merged.has(method)) problems.push(`${method}: has two verdicts`);
      merged.set(method, verdict);
    }
  }
  return merged;
};

const mergeMethods = (inputs: Inputs, problems: string[]): ReadonlyMap<string, SchemaMethod> => {
  const merged = new Map(inputs.schema);
  for (const [method, extra] of Object.entries(inputs.supplement)) {
    if (inputs.schema.has(method))
      problems.push(`${method}: is in the schema now; take it out of the supplement`);
    else if (extra.elsewhere !== true && !inputs.sdk.methods.has(method)) {
      problems.push(`${method}: is in the supplement but no longer in the SDK`);
    }
    merged.set(method, {
      scope: extra.scope,
      params: extra.params ?? [],
      ids: {
        params: extra.ids?.params ?? [],
        result: extra.ids?.result ?? [],
        events: extra.ids?.events ?? [],
      },
    });
  }
  return merged;
};

const isClientMethod = (known: SchemaMethod): boolean =>
  known.scope === "global" || known.scope === "session";

const entryOf = (
  method: string,
  known: SchemaMethod,
  verdict: Verdict,
  inputs: Inputs,
  problems: string[],
): MethodEntry => {
  const closed = verdict.verdict === "deny" && verdict.withAll === undefined;
  const judged = !closed && isClientMethod(known);
  const params: Record<string, ParamVerdict> =
    judged && known.scope === "session"
      ? { sessionId: { kind: "allow" }, ...verdict.params }
      : { ...verdict.params };
  if (judged) {
    const existing = new Set([...known.params, ...(inputs.sdk.params.get(method) ?? [])]);
    for (const name of existing)
      if (!Object.hasOwn(params, name)) problems.push(`${method}: parameter ${name} has no verdict`);
    for (const [name, one] of Object.entries(params)) {
      if (!existing.has(name))
        problems.push(`${method}: parameter ${name} has a verdict but exists no longer`);
      if ("reason" in one && one.reason.trim() === "")
        problems.push(`${method}: the verdict of ${name} has no reason`);
    }
  }
  const corrected: Partial<IdPositions> = idCorrections[method] ?? {};
  const none: IdPositions = { params: [], result: [], events: [] };
  return {
    method,
    scope: known.scope,
    group: method.includes(".") ? method.slice(0, method.lastIndexOf(".")) : method,
    verdict: verdict.verdict,
    ...(verdict.withAll !== undefined && { withAll: verdict.withAll }),
    reason: verdict.reason,
    params,
    ids: closed ? none : { ...known.ids, ...corrected },
  };
};

/** The text of `src/wire/method-table.generated.ts`. */
export const renderTable = (entries: readonly MethodEntry[]): string =>
  [
    "// Written by scripts/method-table.ts from the installed schema and src/wire/method-verdicts; do not edit.",
    'import type { MethodEntry } from "./method-entry.ts";',
    "",
    "export const generatedEntries: readonly MethodEntry[] = [",
    ...entries.map((entry) => `  ${JSON.stringify(entry)},`),
    "];",
    "",
  ].join("\n");

/** The text of `docs/methods.md`. */
export const renderDocs = (entries: readonly MethodEntry[]): string => {
  const count = (verdict: string, client: boolean) =>
    entries.filter(
      (entry) =>
        shownVerdict(entry).startsWith(verdict) && isClientMethod({ ...entry, params: [] }) === client,
    ).length;
  const groups = [...Map.groupBy(entries, (entry) => entry.group)].sort(([a], [b]) => (a < b ? -1 : 1));
  return [
    "# What clients may call",
    "",
    "Written by `npm run generate:methods` from the installed runtime's schema and the verdicts in",
    "`src/wire/method-verdicts`; do not edit. What is not in this table is refused with `method_unknown`; a parameter",
    "that is not in it with `parameter_denied`. A refused parameter that is empty (null, false, `[]`, `{}`) is ignored.",
    "",
    "- **allow**: forwarded to the session's runtime after its parameters are judged; **local**: answered by the node;",
    "  **deny**: refused with `method_denied`. For callbacks and notifications: passed to a client, used by the node, dropped.",
    "- **all**: refused (dropped) unless the policy says `allow: all`; then forwarded to the session's runtime, to the",
    "  runtime of the caller's unit, or answered by the node, as it says.",
    "- Parameters: plain names pass; *name* (`switch`) is judged, and `policy.allow.<switch>` decides;",
    "  ~~name~~ is refused; (name) is ignored. With (`all`) behind it, it passes where the policy says `allow: all`.",
    "",
    `Requests of clients: ${count("allow", true)} allow, ${count("local", true)} local, ${count("all:", true)} all, ${count("deny", true)} deny. ` +
      `Callbacks and notifications: ${count("allow", false)} allow, ${count("local", false)} local, ${count("all:", false)} all, ${count("deny", false)} deny.`,
    ...groups.flatMap(([group, rows]) => [
      "",
      `## ${group}`,
      "",
      "| method | verdict | why | parameters |",
      "|---|---|---|---|",
      ...rows.map(
        (row) => `| \`${row.method}\` | ${shownVerdict(row)} | ${row.reason} | ${describeParams(row)} |`,
      ),
    ]),
    "",
  ].join("\n");
};

const ways: Readonly<Record<Way, string>> = { allow: "session", unit: "unit", local: "node" };

const shownVerdict = ({ verdict, withAll, scope }: MethodEntry): string => {
  if (withAll === undefined) return verdict;
  return scope === "global" || scope === "session" ? `all: ${ways[withAll]}` : "all: client";
};

const describeParams = (entry: MethodEntry): string =>
  Object.entries(entry.params)
    .map(([name, verdict]) => describeParam(name, verdict))
    .join(", ");

const describeParam = (name: string, verdict: ParamVerdict): string => {
  const opens = "opens" in verdict && verdict.opens === "all" ? " (`all`)" : "";
  switch (verdict.kind) {
    case "allow":
      return name;
    case "deny":
      return `~~${name}~~${opens}: ${verdict.reason}`;
    case "drop":
      return `(${name})${opens}`;
    case "gate":
      if (verdict.opens === null) return `*${name}* (by value)`;
      return verdict.opens === "all" ? `*${name}* (by value)${opens}` : `*${name}* (\`${verdict.opens}\`)`;
  }
};

const outputs = {
  table: fileURLToPath(new URL("../src/wire/method-table.generated.ts", import.meta.url)),
  docs: fileURLToPath(new URL("../docs/methods.md", import.meta.url)),
};

const readIfThere = (file: string): string | undefined => {
  try {
    return readFileSync(file, "utf8");
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "ENOENT") return undefined;
    throw error;
  }
};

const main = (checkOnly: boolean): number => {
  const { entries, problems } = buildTable(readInputs());
  const rendered = [
    [outputs.table, renderTable(entries)],
    [outputs.docs, renderDocs(entries)],
  ] as const;
  const found = [...problems];
  for (const [file, text] of rendered) {
    if (checkOnly && readIfThere(file) !== text)
      found.push(`${file}: is stale; run npm run generate:methods`);
    if (!checkOnly && problems.length === 0) writeFileSync(file, text);
  }
  for (const problem of found) console.error(problem);
  if (found.length > 0) console.error(`${found.length} faults in the method table.`);
  else console.log(`The method table has ${entries.length} methods.`);
  return found.length === 0 ? 0 : 1;
};

if (import.meta.main) process.exitCode = main(process.argv.includes("--check"));
