/** The key of `policy.allow` that opens a gated parameter. */
export type PolicySwitch = "models" | "provider" | "tools" | "mcp" | "workingDirectories";

/** Names of the checks of `policy/parameter-checks.ts`; each judges one parameter's value. */
export type CheckName =
  | "agentMode"
  | "attachments"
  | "customAgents"
  | "directories"
  | "directory"
  | "largeOutput"
  | "mcpAny"
  | "mcpServer"
  | "mcpServers"
  | "mcpToolName"
  | "model"
  | "permissionDecision"
  | "provider"
  | "relativePath"
  | "slashCommand"
  | "source"
  | "tools";

/**
 * What happens to one parameter: passed on; refused (unless it is empty, which is harmless); judged by a check,
 * `opens` naming the policy switch that decides, if one does; or ignored, because the node decides it anyway.
 */
export type ParamVerdict =
  | { readonly kind: "allow" }
  | { readonly kind: "deny"; readonly reason: string }
  | { readonly kind: "gate"; readonly check: CheckName; readonly opens: PolicySwitch | null }
  | { readonly kind: "drop"; readonly reason: string };

/**
 * Who speaks about what: requests of clients about the whole node or about one session; callbacks (requests of a
 * runtime to a client); notifications of a runtime.
 */
export type MethodScope = "global" | "session" | "callback" | "notification";

/**
 * Where session ids stand, as paths: `a.b`, `[]` for each item of a list. `events` are the places in the result
 * that hold lists of session events, whose own ids `eventSessionIds` of method-table.ts names.
 */
export interface IdPositions {
  readonly params: readonly string[];
  readonly result: readonly string[];
  readonly events: readonly string[];
}

/** One row of the method table. */
export interface MethodEntry {
  readonly method: string;
  readonly scope: MethodScope;
  /** The method's name without its last word. */
  readonly group: string;
  /** `allow`: forwarded after its parameters are judged; `local`: answered by the node; `deny`: refused. */
  readonly verdict: "allow" | "local" | "deny";
  readonly reason: string;
  readonly params: Readonly<Record<string, ParamVerdict>>;
  readonly ids: IdPositions;
}
