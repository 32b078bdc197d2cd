import type { Policy } from "../config/config.ts";
import { SquadronError } from "../kernel/errors.ts";
import { isObject } from "../kernel/json.ts";
import { type MethodEntry, methodEntry, type Way } from "../wire/method-table.ts";
import { parameterCheck } from "./parameter-checks.ts";
import { refused } from "./refusal.ts";

/** A call that may go on. */
export interface Judgement {
  /** To the runtime of the session that it names (`allow`), to the caller's unit's (`unit`), to the node's answer (`local`). */
  readonly verdict: Way;
  readonly entry: MethodEntry;
  /** A copy without what was ignored, absent or harmlessly empty. */
  readonly params: Readonly<Record<string, unknown>>;
}

const maxDepth = 200;

/** An SDK call without parameters comes as a list of one `null` (`client.rpc.models.list()`). */
const isNothing = (params: unknown): boolean =>
  Array.isArray(params) && params.length === 1 && params[0] === null;

/**
 * May a client call this method with these parameters? Pure. Throws `method_unknown`, `method_denied`,
 * `parameter_denied`, `model_denied`, or `invalid_request` for parameters that are no object or have a wrong type.
 */
export const judgeCall = (policy: Policy, method: string, given: unknown): Judgement => {
  const params = isNothing(given) ? undefined : given;
  const entry = methodEntry(method);
  if (entry === undefined || entry.scope === "callback" || entry.scope === "notification") {
    throw new SquadronError("method_unknown", `There is no method "${method}".`, { details: { method } });
  }
  const verdict = wayOf(policy, entry);
  if (verdict === undefined) throw denied(entry);
  if (params !== undefined && params !== null && !isObject(params)) {
    throw new SquadronError("invalid_request", `The parameters of ${method} must be an object.`, {
      details: { method },
    });
  }
  refusePrototypeKeys(method, params, 0);
  const judged: Record<string, unknown> = {};
  for (const [name, value] of Object.entries(params ?? {})) {
    const kept = judgeParameter(policy, entry, name, value);
    if (kept !== undefined) judged[name] = kept;
  }
  return { verdict, entry, params: judged };
};

/**
 * The judged parameters under another policy: that of the session which the call turned out to be about. Throws as
 * `judgeCall` does.
 */
export const judgeAgain = (
  before: Policy,
  policy: Policy,
  method: string,
  params: Readonly<Record<string, unknown>>,
): Readonly<Record<string, unknown>> =>
  policy === before ? params : judgeCall(policy, method, params).params;

const wayOf = ({ allow }: Policy, { verdict, withAll }: MethodEntry): Way | undefined =>
  verdict !== "deny" ? verdict : allow.all ? withAll : undefined;

const denied = ({ method, reason, withAll }: MethodEntry): SquadronError =>
  new SquadronError(
    "method_denied",
    `${method} is not available here. ${reason}${withAll === undefined ? "" : " Only a policy with allow: all opens it."}`,
    { details: { method, ...(withAll !== undefined && { policy: "allow.all" }) } },
  );

const judgeParameter = (policy: Policy, entry: MethodEntry, parameter: string, value: unknown): unknown => {
  const verdict = Object.hasOwn(entry.params, parameter) ? entry.params[parameter] : undefined;
  const opens = verdict !== undefined && "opens" in verdict ? verdict.opens : null;
  if (opens === "all" && policy.allow.all) return value;
  const place = { method: entry.method, parameter, opens };
  switch (verdict?.kind) {
    case "allow":
      return value;
    case "drop":
      return undefined;
    case "gate":
      if (value === undefined || value === null) return undefined;
      if (verdict.check !== "tools" && isHarmless(value)) return undefined;
      return parameterCheck(verdict.check)(value, policy.allow, place);
    case "deny":
      if (isHarmless(value)) return undefined;
      throw refused(place, verdict.reason);
    case undefined:
      if (isHarmless(value)) return undefined;
      throw refused(place, "no such parameter is known.");
  }
};

/** Empty values ask for nothing: SDKs send them whatever the program does. */
const isHarmless = (value: unknown): boolean =>
  value === undefined ||
  value === null ||
  value === false ||
  (Array.isArray(value) && value.length === 0) ||
  (isObject(value) && Object.keys(value).length === 0);

/** A key `__proto__` changes an object's prototype when it is copied carelessly; no protocol needs one. */
const refusePrototypeKeys = (method: string, value: unknown, depth: number): void => {
  if (typeof value !== "object" || value === null) return;
  if (depth > maxDepth) {
    throw new SquadronError(
      "invalid_request",
      `The parameters of ${method} are nested deeper than ${maxDepth}.`,
      {
        details: { method, limit: maxDepth },
      },
    );
  }
  if (Object.hasOwn(value, "__proto__")) {
    throw new SquadronError("invalid_request", `The parameters of ${method} have a key "__proto__".`, {
      details: { method },
    });
  }
  for (const child of Object.values(value)) refusePrototypeKeys(method, child, depth + 1);
};
