import type { IdPositions, MethodScope } from "../method-entry.ts";

/** A method that the schema omits. */
export interface SupplementMethod {
  readonly scope: MethodScope;
  readonly ids?: Partial<IdPositions>;
  /** Parameters that this SDK version does not send but another SDK or the runtime knows. */
  readonly params?: readonly string[];
  /** Not in the installed SDK (older ones and SDKs of other languages send it), so its absence there is no fault. */
  readonly elsewhere?: true;
}

const session = { scope: "session", ids: { params: ["sessionId"] } } as const;
const opening = {
  scope: "session",
  ids: { params: ["sessionId"], result: ["sessionId", "nativeSessionId"] },
} as const;

export const supplement: Readonly<Record<string, SupplementMethod>> = {
  "session.create": opening,
  "session.resume": opening,
  "session.detach": session,
  "session.destroy": { ...session, params: ["sessionId"], elsewhere: true },
  "session.delete": session,
  "session.getMessages": { scope: "session", ids: { params: ["sessionId"], events: ["events"] } },
  "session.list": { scope: "global", ids: { result: ["sessions[].sessionId"] } },
  "session.getLastId": { scope: "global", ids: { result: ["sessionId"] } },
  "session.getMetadata": { scope: "global", ids: { params: ["sessionId"], result: ["session.sessionId"] } },
  "session.getForeground": { scope: "global", ids: { result: ["sessionId"] } },
  "session.setForeground": { scope: "global", ids: { params: ["sessionId"] } },
  "status.get": { scope: "global" },
  "auth.getStatus": { scope: "global" },
  "userInput.request": { scope: "callback", ids: { params: ["sessionId"] } },
  "exitPlanMode.request": { scope: "callback", ids: { params: ["sessionId"] } },
  "autoModeSwitch.request": { scope: "callback", ids: { params: ["sessionId"] } },
  "systemMessage.transform": { scope: "callback", ids: { params: ["sessionId"] } },
  "session.event": { scope: "notification", ids: { params: ["sessionId"] } },
  "session.lifecycle": { scope: "notification", ids: { params: ["sessionId"] } },
  "shell.output": { scope: "notification", elsewhere: true },
  "shell.exit": { scope: "notification", elsewhere: true },
  "host.event": { scope: "notification", elsewhere: true },
};

/** A workspace is called by the id of its session. */
const workspace = { result: ["workspace.id"] } as const;

/** Ids that the schema types as free-form or as a workspace's, and names that look like ids of our sessions but are not. */
export const idCorrections: Readonly<
  Record<string, { readonly params?: readonly string[]; readonly result?: readonly string[] }>
> = {
  "hooks.invoke": { params: ["sessionId", "input.sessionId"] },
  "gitHubTelemetry.event": { params: ["sessionId", "event.session_id"] },
  "sessions.startRemoteControl": { params: ["sessionId"] },
  "session.metadata.snapshot": { result: ["sessionId", "workspace.id"] },
  "session.workspaces.getWorkspace": workspace,
  "session.workspaces.ensure": workspace,
  "session.workspaces.updateMetadata": workspace,
  "session.workspaces.addSummary": workspace,
};

/** Functions that the SDK spreads into parameters, with the names that they add. */
export const spreadCalls: Readonly<Record<string, readonly string[]>> = {
  getTraceContext: ["traceparent", "tracestate"],
};
