import type { Allow, Policy } from "../config/config.ts";
import { actsOnHost, isOwnRuntime } from "../config/host-access.ts";
import type { Isolation } from "../kernel/isolation.ts";

/**
 * The policy as it holds for a session of this isolation. A session keeps the isolation that it was made with: in a
 * runtime that others use too, nobody may act on the host or on the runtime, whatever the policy says by now.
 */
export const policyWithin = (policy: Policy, isolation: Isolation): Policy =>
  isOwnRuntime(isolation) ? policy : { ...policy, allow: withoutHost(policy.allow) };

const withoutHost = (allow: Allow): Allow => ({
  ...allow,
  all: false,
  tools: allow.tools.filter((pattern) => !actsOnHost(pattern)),
  mcp: { ...allow.mcp, stdio: false },
  workingDirectories: allow.all ? [] : allow.workingDirectories,
});
