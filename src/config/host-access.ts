import type { Isolation } from "../kernel/isolation.ts";
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
  readonly allow: { readonly tools: readonly string[]; readonly mcp: { readonly stdio: boolean } };
}

const actsOnHost = (pattern: string): boolean =>
  pattern.startsWith("builtin:") && !isolatedTools.has(pattern.slice("builtin:".length));

const remedy =
  "expected trusted: true and isolation user or session with it: there is no sandbox, and whoever has this has the node's own user on this host";

/** What a policy gives away without saying that its users are trusted with the host. Paths are those of the policy. */
export const hostAccessProblems = ({ isolation, trusted, allow }: HostAccess): readonly KeyProblem[] => {
  if (trusted && (isolation === "user" || isolation === "session")) return [];
  return [
    ...allow.tools.flatMap((pattern, at) =>
      actsOnHost(pattern) ? [{ path: ["allow", "tools", at], message: remedy }] : [],
    ),
    ...(allow.mcp.stdio ? [{ path: ["allow", "mcp", "stdio"], message: remedy }] : []),
  ];
};
