/** The key of `policy.allow` that opens a gated parameter. */
export type PolicySwitch = "all" | "models" | "provider" | "tools" | "mcp" | "workingDirectories";

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
  | "message"
  | "messages"
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
 * What is refused or ignored with `opens: "all"` is passed on where the policy says `allow: all`.
 */
export type ParamVerdict =
  | { readonly kind: "allow" }
  | { readonly kind: "deny"; readonly reason: string; readonly opens?: "all" }
  | { readonly kind: "gate"; readonly check: CheckName; readonly opens: PolicySwitch | null }
  | { readonly kind: "drop"; readonly reason: string; readonly opens?: "all" };

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

/**
 * Where a call goes once its parameters are judged: to the runtime of the session that it names (`allow`), to the
 * runtime of the caller's unit (`unit`), or to the node's own answer (`local`).
 */
export type Way = "allow" | "local" | "unit";

/** One row of the method table. */
export interface MethodEntry {
  readonly method: string;
  readonly scope: MethodScope;
  /** The method's name without its last word. */
  readonly group: string;
  /** `allow`: forwarded after its parameters are judged; `local`: answered by the node; `deny`: refused. */
  readonly verdict: "allow" | "local" | "deny";
  /** Where a denied call goes if the policy says `allow: all`; absent, it is denied then too. */
  readonly withAll?: Way;
  readonly reason: string;
  readonly params: Readonly<Record<string, ParamVerdict>>;
  readonly ids: IdPositions;
}
