import { allow, allowAll, gate, plain, type Verdicts, yes } from "./verdict.ts";

const server = { serverName: gate("mcp", "mcpAny") };
const theirs = "MCP servers of this session, which the policy must allow.";

/** MCP inside a session. Without policy.allow.mcp a session has no servers and none of these does anything. */
export const sessionMcpVerdicts: Verdicts = {
  "session.mcp.list": allow(theirs),
  "session.mcp.listTools": allow(theirs, server),
  "session.mcp.isServerRunning": allow(theirs, server),
  "session.mcp.moveLoadingToBackground": allow(theirs),
  "session.mcp.startServer": allow(theirs, { ...server, config: gate("mcp", "mcpServer") }),
  "session.mcp.restartServer": allow(theirs, { ...server, config: gate("mcp", "mcpServer") }),
  "session.mcp.stopServer": allow(theirs, server),
  "session.mcp.executeSampling": allow(theirs, {
    ...server,
    ...plain("requestId", "mcpRequestId", "request"),
  }),
  "session.mcp.cancelSamplingExecution": allow(theirs, plain("requestId")),
  "session.mcp.removeGitHub": allow("Takes a server away from this session."),
  "session.mcp.resources.read": allow(theirs, { ...server, uri: yes }),
  "session.mcp.resources.list": allow(theirs, { ...server, cursor: yes }),
  "session.mcp.resources.listTemplates": allow(theirs, { ...server, cursor: yes }),
  "session.mcp.apps.readResource": allow(theirs, { ...server, uri: yes }),
  "session.mcp.apps.listTools": allow(theirs, { ...server, originServerName: yes }),
  "session.mcp.apps.callTool": allow(theirs, {
    ...server,
    toolName: gate("tools", "mcpToolName"),
    ...plain("arguments", "originServerName"),
  }),
  "session.mcp.apps.setHostContext": allow(theirs, plain("context")),
  ...allowAll(theirs, ["session.mcp.apps.getHostContext"]),
  "session.mcp.apps.diagnose": allow(theirs, server),
  "session.mcp.oauth.handlePendingRequest": allow(
    "Answers a request that the session made to this client.",
    plain("requestId", "result"),
  ),
  "session.mcp.oauth.respond": allow(
    "Answers a request that the session made to this client.",
    plain("requestId"),
  ),
  "session.mcp.oauth.probe": allow(theirs, server),
  "session.mcp.oauth.authenticationStateChanged": allow(theirs, {
    serverName: gate("mcp", "mcpAny"),
    refreshSessionToken: yes,
  }),
  "session.mcp.headers.handlePendingHeadersRefreshRequest": allow(
    "Answers a request that the session made to this client.",
    plain("requestId", "result"),
  ),
  "session.provider.add": allow("A client's own provider, which the policy must allow.", {
    providers: gate("provider", "provider"),
    models: gate("provider", "provider"),
  }),
};
