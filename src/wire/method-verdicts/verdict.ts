import type { CheckName, MethodEntry, ParamVerdict, PolicySwitch, Way } from "../method-entry.ts";

/** A hand-kept verdict; scope and id positions come from the schema and the supplement, see scripts/method-table.ts. */
export type Verdict = Pick<MethodEntry, "verdict" | "withAll" | "reason" | "params">;
export type Verdicts = Readonly<Record<string, Verdict>>;
export type ParamVerdicts = Readonly<Record<string, ParamVerdict>>;

export const yes: ParamVerdict = { kind: "allow" };
export const no = (reason: string) => ({ kind: "deny", reason }) as const satisfies ParamVerdict;
export const drop = (reason: string) => ({ kind: "drop", reason }) as const satisfies ParamVerdict;

/** Opened by a switch of the policy. */
export const gate = (opens: PolicySwitch, check: CheckName): ParamVerdict => ({ kind: "gate", check, opens });

/** Passed on as it is where the policy says `allow: all`, and treated as given everywhere else. */
export const unlessAll = (verdict: Exclude<ParamVerdict, { kind: "allow" }>): ParamVerdict => ({
  ...verdict,
  opens: "all",
});

/** Judged by its value alone; no switch opens more. */
export const check = (name: CheckName) =>
  ({ kind: "gate", check: name, opens: null }) as const satisfies ParamVerdict;

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

/** Refused, all with the same reason, and with `allow: all` too. */
export const deny = (reason: string, methods: readonly string[]): Verdicts =>
  Object.fromEntries(methods.map((method) => [method, { verdict: "deny", reason, params: {} }]));

/** Refused, all with the same reason, unless the policy says `allow: all`: then they go this way. */
export const denyUnlessAll = (
  reason: string,
  withAll: Way,
  methods: Readonly<Record<string, ParamVerdicts>>,
): Verdicts =>
  Object.fromEntries(
    Object.entries(methods).map(([method, params]) => [method, { verdict: "deny", withAll, reason, params }]),
  );

/** One verdict for several methods without parameters of their own. */
export const allowAll = (reason: string, methods: readonly string[]): Verdicts =>
  Object.fromEntries(methods.map((method) => [method, allow(reason)]));

/** All named parameters are harmless. */
export const plain = (...names: readonly string[]): ParamVerdicts =>
  Object.fromEntries(names.map((name) => [name, yes]));

export const serverDecides = unlessAll(drop("The node decides this for every session."));
