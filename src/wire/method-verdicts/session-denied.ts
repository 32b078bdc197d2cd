import { deny, type Verdicts } from "./verdict.ts";

const inProcess = "It takes an object of the runtime's own process, which no frame carries.";

/** Refused whatever the policy says, `allow: all` included: what ends or changes the ground on which the node works. */
export const sessionDeniedVerdicts: Verdicts = {
  ...deny("After it a session cannot be resumed; use session.destroy or session.delete.", [
    "session.shutdown",
  ]),
  ...deny("The GitHub identity of a session is set by gitHubToken of session.create and session.resume.", [
    "session.gitHubAuth.setCredentials",
    "session.gitHubAuth.refreshCopilotUser",
    "session.gitHubAuth.login",
    "session.gitHubAuth.switchToAuth",
    "session.gitHubAuth.logout",
    "session.gitHubAuth.logoutUser",
    "session.mcp.configureGitHub",
  ]),
  ...deny("It tells credentials, and they may be the operator's; session.gitHubAuth.getStatus says whose.", [
    "session.gitHubAuth.getCurrentAuthInfo",
    "session.gitHubAuth.getAllAuthAvailable",
    "session.gitHubAuth.lastAuthErrors",
  ]),
  ...deny("Tells the address and credential of the model provider; model calls are the node's.", [
    "session.provider.getEndpoint",
  ]),
  ...deny("Whether a session asks follows from requestPermission of its attachments.", [
    "session.permissions.setRequired",
  ]),
  ...deny("The node unites the tools of all attachments; session.resume replaces one's own.", [
    "session.tools.set",
  ]),
  ...deny("It decides when a session says that it is idle, which is when the node ends and stores turns.", [
    "session.queue.beginDeferredIdleDrain",
    "session.queue.finishDeferredIdleDrain",
    "session.queue.deferSessionIdle",
    "session.queue.enqueueResumePending",
    "session.queue.process",
  ]),
  ...deny("A runtime does it itself when a session wakes.", ["session.schedule.hydrate"]),
  ...deny(inProcess, [
    "session.canvas.provider.register",
    "session.canvas.provider.unregister",
    "session.mcp.registerExternalClient",
    "session.mcp.unregisterExternalClient",
    "session.ui.registerDirectAutoModeSwitchHandler",
    "session.ui.unregisterDirectAutoModeSwitchHandler",
  ]),
  ...deny(
    "Only the extension that executes a factory has the token for it, and it talks to its runtime itself.",
    [
      "session.factory.pauseAtCheckpoint",
      "session.factory.log",
      "session.factory.agent",
      "session.factory.journal.get",
      "session.factory.journal.put",
    ],
  ),
};
