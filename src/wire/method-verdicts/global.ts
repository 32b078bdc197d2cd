import { allow, deny, drop, local, no, plain, unlessAll, type Verdicts, yes } from "./verdict.ts";

const own = "Answered from the directory of sessions: only one's own.";

/** Methods that speak about a whole runtime. A client has no runtime, so the node answers or refuses. */
export const globalVerdicts: Verdicts = {
  connect: local("The node authenticates; runtimes see no client's token.", {
    token: yes,
    supportedTaskKinds: yes,
    clientInfo: drop("A runtime serves many clients: none of them names it."),
    enableGitHubTelemetryForwarding: unlessAll(no("It forwards the telemetry of all sessions of a runtime.")),
  }),
  ping: local("The node is what is alive for a client.", plain("message")),
  "status.get": local("The node's version and protocol."),
  "auth.getStatus": local("Who the principal is; a runtime's own sign-in is the operator's."),
  "models.list": local("The models that the policy allows.", {
    selectionId: no("Accounts of the host are the operator's."),
    gitHubToken: yes,
  }),

  "session.list": local(own, plain("filter")),
  "session.getLastId": local(own),
  "session.getMetadata": local(own, plain("sessionId")),
  "session.getForeground": local("A server has no foreground session; kept per connection."),
  "session.setForeground": local(
    "A server has no foreground session; kept per connection.",
    plain("sessionId"),
  ),
  "sessions.list": local(own, {
    ...plain("metadataLimit", "filter", "includeDetached", "throwOnError"),
    source: drop("Remote sessions belong to the host's GitHub account: only local ones are listed."),
  }),
  "sessions.getMetadata": local(own, plain("sessionId")),
  "sessions.checkInUse": local(own, plain("sessionIds")),
  "sessions.listNonEmptySessionIds": local(own, plain("limit")),
  "sessions.findByPrefix": local(own, plain("prefix")),
  "sessions.close": local("Puts the session to sleep.", plain("sessionId")),
  "sessions.delete": local("The node deletes the session everywhere.", {
    sessionId: yes,
    sessionPath: no("It names a directory of the host."),
  }),
  "sessions.bulkDelete": local("The node deletes the sessions everywhere.", plain("sessionIds")),
  "sessions.save": local("What was acknowledged is already in the Store.", plain("sessionId")),
  "sessions.fork": allow(
    "The new session is registered under the id of the result.",
    plain("sessionId", "toEventId", "name"),
  ),

  "llmInference.setProvider": local(
    "A client makes the model calls of its own sessions where the policy allows clients' own providers.",
  ),
  "llmInference.httpResponseStart": local("Answers a model call that this client was asked to make.", {
    requestId: yes,
    status: yes,
    statusText: yes,
    headers: yes,
  }),
  "llmInference.httpResponseChunk": local("Answers a model call that this client was asked to make.", {
    requestId: yes,
    data: yes,
    binary: yes,
    end: yes,
    error: yes,
  }),

  ...deny("Use session.create and session.resume: this opens remote and foreign sessions as well.", [
    "sessions.open",
    "sessions.connect",
  ]),
  ...deny(
    "Sleeping sessions have no files that a runtime could read; use session.metadata.getClientMetadata.",
    ["sessions.getClientMetadata"],
  ),
  ...deny("It takes an object of the runtime's own process, which no frame carries.", [
    "sessions.configureSessionExtensions",
  ]),
  ...deny(
    "It lasts as long as one process, and processes come and go; install the plugin or name its directory with the session.",
    ["sessions.setAdditionalPlugins", "plugins.builtin.set"],
  ),
  ...deny("Starts a runtime beside the node's, whose sessions the node neither stores nor answers for.", [
    "agentRegistry.spawn",
  ]),
  ...deny("The node keeps sessions as files and must find them where it stores them from.", [
    "sessionFs.setProvider",
  ]),
  ...deny("Signing in or out writes tokens to the disk; a session has the gitHubToken that it was given.", [
    "account.login",
    "account.logout",
  ]),
  ...deny("Ends a process that others use; the node decides when a runtime ends.", ["runtime.shutdown"]),
};
