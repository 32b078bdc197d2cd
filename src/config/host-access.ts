import type { Isolation } from "../kernel/isolation.ts";
import type { SandboxConfig } from "./config.ts";
import type { KeyProblem } from "./problems.ts";

/** Tools of the runtime that stay inside their session (the SDK's `BuiltInTools.Isolated`); all others act on the host. */
const isolatedTools: ReadonlySet<string> = new Set([
  "ask_user",
  "task_complete",
  "exit_plan_mode",
  "task",
  "read_agent",
  "write_agent",
  "list_agents",
  "send_inbox",
  "context_board",
  "skill",
]);

interface HostAccess {
  readonly isolation: Isolation;
  readonly trusted: boolean;
  readonly allow: "all" | { readonly tools: readonly string[]; readonly mcp: { readonly stdio: boolean } };
}

/** Does a tool pattern allow a tool of the runtime that leaves its session? */
export const actsOnHost = (pattern: string): boolean =>
  pattern === "*" || (pattern.startsWith("builtin:") && !isolatedTools.has(pattern.slice("builtin:".length)));

/** Is a runtime of this isolation one user's alone? */
export const isOwnRuntime = (isolation: Isolation): boolean =>
  isolation === "user" || isolation === "session";

/** What is missing before users of this policy may act on the host; undefined when nothing is. */
const remedyFor = (
  { isolation, trusted }: HostAccess,
  sandbox: SandboxConfig["kind"],
): string | undefined => {
  const own = isOwnRuntime(isolation);
  const fenced = trusted || sandbox !== "none";
  const expected = [
    ...(own
      ? []
      : [`isolation user or session, not ${isolation}: in it users would act in one another's runtime`]),
    ...(fenced
      ? []
      : [
          "runtimes.sandbox.kind: bubblewrap, or trusted: true: without a sandbox whoever has this has the node's own user on this host",
        ]),
  ];
  return expected.length === 0 ? undefined : `expected ${expected.join("; and ")}`;
};

/**
 * What a policy gives away although its users share a runtime, or have neither a sandbox around them nor the
 * operator's trust with the host. Paths are those of the policy.
 */
export const hostAccessProblems = (
  policy: HostAccess,
  sandbox: SandboxConfig["kind"],
): readonly KeyProblem[] => {
  const { allow } = policy;
  const remedy = remedyFor(policy, sandbox);
  if (remedy === undefined) return [];
  if (allow === "all") return [{ path: ["allow"], message: remedy }];
  return [
    ...allow.tools.flatMap((pattern, at) =>
      actsOnHost(pattern) ? [{ path: ["allow", "tools", at], message: remedy }] : [],
    ),
    ...(allow.mcp.stdio ? [{ path: ["allow", "mcp", "stdio"], message: remedy }] : []),
  ];
};
