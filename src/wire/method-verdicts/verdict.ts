import type { CheckName, MethodEntry, ParamVerdict, PolicySwitch } from "../method-entry.ts";

/** A hand-kept verdict; scope and id positions come from the schema and the supplement, see scripts/method-table.ts. */
export type Verdict = Pick<MethodEntry, "verdict" | "reason" | "params">;
export type Verdicts = Readonly<Record<string, Verdict>>;
export type ParamVerdicts = Readonly<Record<string, ParamVerdict>>;

export const yes: ParamVerdict = { kind: "allow" };
export const no = (reason: string): ParamVerdict => ({ kind: "deny", reason });
export const drop = (reason: string): ParamVerdict => ({ kind: "drop", reason });

/** Opened by a switch of the policy. */
export const gate = (opens: PolicySwitch, check: CheckName): ParamVerdict => ({ kind: "gate", check, opens });

/** Judged by its value alone; no switch opens more. */
export const check = (name: CheckName): ParamVerdict => ({ kind: "gate", check: name, opens: null });

/** Forwarded to the session's runtime. `sessionId` needs no mention: every method about a session has it. */
export const allow = (reason: string, params: ParamVerdicts = {}): Verdict => ({
  verdict: "allow",
  reason,
  params,
});

/** Answered by the node. */
export const local = (reason: string, params: ParamVerdicts = {}): Verdict => ({
  verdict: "local",
  reason,
  params,
});

/** Refused, all with the same reason. */
export const deny = (reason: string, methods: readonly string[]): Verdicts =>
  Object.fromEntries(methods.map((method) => [method, { verdict: "deny", reason, params: {} }]));

/** One verdict for several methods without parameters of their own. */
export const allowAll = (reason: string, methods: readonly string[]): Verdicts =>
  Object.fromEntries(methods.map((method) => [method, allow(reason)]));

/** All named parameters are harmless. */
export const plain = (...names: readonly string[]): ParamVerdicts =>
  Object.fromEntries(names.map((name) => [name, yes]));

export const serverDecides = drop("The node decides this for every session.");
