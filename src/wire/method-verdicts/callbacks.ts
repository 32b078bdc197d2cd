import { allow, allowAll, deny, denyUnlessAll, local, type Verdicts } from "./verdict.ts";

/** Requests and notifications of a runtime. `allow`: passed to a client; `local`: the node's own; `deny`: not passed on. */
export const callbackVerdicts: Verdicts = {
  ...allowAll("Goes to the attachment that declared the handler.", [
    "userInput.request",
    "exitPlanMode.request",
    "autoModeSwitch.request",
    "systemMessage.transform",
    "hooks.invoke",
    "canvas.open",
    "canvas.close",
    "canvas.action.invoke",
    "tasks.cancel",
  ]),
  "providerToken.getToken": allow("Goes to the attachment that brought the provider."),
  "gitHubToken.getToken": allow("Goes to the connection that registered the provider of tokens."),
  ...allowAll("Goes to the attachments of the session, ids rewritten.", [
    "session.event",
    "session.lifecycle",
  ]),
  "llmInference.httpRequestStart": local("The node makes the model calls."),
  "llmInference.httpRequestChunk": local("The node makes the model calls."),
  ...deny("No SDK registers a provider of skills.", ["skillProvider.list", "skillProvider.read"]),
  ...deny("Factories belong to extensions, which talk to their runtime themselves.", [
    "factory.execute",
    "factory.abort",
  ]),
  ...deny("Speaks about the caches of a runtime; no SDK listens to it.", ["host.event"]),
  ...denyUnlessAll("No extension is launched.", "allow", { "extensionLaunchProvider.resolve": {} }),
  ...denyUnlessAll("Carries telemetry of all sessions of a runtime.", "allow", {
    "gitHubTelemetry.event": {},
  }),
  ...denyUnlessAll("Comes only after session.shell.exec, which is refused; it names no session.", "allow", {
    "shell.output": {},
    "shell.exit": {},
  }),
  ...deny("The node keeps sessions as files and registers no filesystem.", [
    "sessionFs.readFile",
    "sessionFs.writeFile",
    "sessionFs.appendFile",
    "sessionFs.exists",
    "sessionFs.stat",
    "sessionFs.mkdir",
    "sessionFs.readdir",
    "sessionFs.readdirWithTypes",
    "sessionFs.rm",
    "sessionFs.rename",
    "sessionFs.sqliteQuery",
    "sessionFs.sqliteTransaction",
    "sessionFs.sqliteExists",
  ]),
};
