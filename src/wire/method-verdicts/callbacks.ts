import { allow, allowAll, deny, local, type Verdicts } from "./verdict.ts";

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
  ...deny("Sessions have no skills of clients.", ["skillProvider.list", "skillProvider.read"]),
  ...deny("Factories belong to extensions, which do not connect through the node.", [
    "factory.execute",
    "factory.abort",
  ]),
  ...deny("No extension is launched.", ["extensionLaunchProvider.resolve"]),
  ...deny("Carries telemetry of all sessions of a runtime.", ["gitHubTelemetry.event"]),
  ...deny("Comes only after session.shell.exec, which is refused; it names no session.", [
    "shell.output",
    "shell.exit",
  ]),
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
