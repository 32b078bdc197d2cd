import type { Policy } from "../config/config.ts";
import { SquadronError } from "../kernel/errors.ts";
import { methodEntry, type ParamVerdict } from "../wire/method-table.ts";
import { parameterCheck } from "./parameter-checks.ts";

/**
 * Names of recorded parameters of a method that reach the host and that the policy allows no longer: what was judged
 * when it came is used again at every wake, and the policy may have been narrowed since.
 */
export const noLongerAllowed = (
  policy: Policy,
  method: "session.resume" | "session.options.update",
  recorded: Readonly<Record<string, unknown>>,
): readonly string[] => {
  if (policy.allow.all) return [];
  const verdicts: Readonly<Record<string, ParamVerdict>> = methodEntry(method)?.params ?? {};
  return Object.entries(recorded).flatMap(([parameter, value]) => {
    const verdict = Object.hasOwn(verdicts, parameter) ? verdicts[parameter] : undefined;
    if (verdict === undefined || verdict.kind === "deny") return [parameter];
    if (verdict.kind !== "gate" || !reachesHost(verdict.opens) || value === undefined || value === null)
      return [];
    return passes(() =>
      parameterCheck(verdict.check)(value, policy.allow, { method, parameter, opens: verdict.opens }),
    )
      ? []
      : [parameter];
  });
};

/** Models, providers and tools are judged elsewhere each time they are used. */
const reachesHost = (opens: string | null): boolean => opens === "mcp" || opens === "workingDirectories";

const passes = (check: () => unknown): boolean => {
  try {
    check();
    return true;
  } catch (error) {
    if (error instanceof SquadronError) return false;
    throw error;
  }
};
