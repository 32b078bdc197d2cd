import { optionParameters } from "./session-opening.ts";
import { allow, allowAll, check, drop, gate, no, plain, unlessAll, type Verdicts, yes } from "./verdict.ts";

const persisted = unlessAll(no("It is stored in the settings of the runtime, which others share."));
const recordedCwd = unlessAll(no("It records a directory of the host for the session."));
const inside = "Files of the session itself; the runtime refuses paths that leave it.";

/** A session's own state: model, mode, files, history, metadata. */
export const sessionStateVerdicts: Verdicts = {
  "session.options.update": allow("Only what the policy leaves to clients.", optionParameters),

  "session.model.getCurrent": allow("The session's own model."),
  "session.model.list": allow("The models that the session can reach.", plain("skipCache")),
  "session.model.switchTo": allow("A model that the policy allows.", {
    modelId: gate("models", "model"),
    ...plain(
      "autoTier",
      "reasoningEffort",
      "reasoningSummary",
      "verbosity",
      "modelCapabilities",
      "contextTier",
    ),
    ...plain("deferIfModelChangeQueued", "compactionDecision", "runCompactionPreflight", "requireAvailable"),
    source: drop("A client's change is recorded as a client's."),
    repoScope: persisted,
    modelChangeScope: persisted,
    pickerPersistence: persisted,
  }),
  "session.model.switchAutoTier": allow("The session's own model.", {
    autoTier: yes,
    source: drop("A client's change is recorded as a client's."),
  }),
  "session.model.setReasoningEffort": allow("The session's own model.", plain("reasoningEffort")),

  "session.mode.get": allow("The session's own mode."),
  "session.mode.set": allow("The session's own mode.", {
    ...plain("mode", "expectedMode", "planModelConfigured", "planReasoningEffort", "planContextTier"),
    ...plain("compactionDecision", "restorePlanModel", "planExitAction"),
    planModel: gate("models", "model"),
    inheritPlanBaseFromSessionId: unlessAll(no("It reads another session.")),
    persistPlanSelection: persisted,
    pickerSettingsContext: persisted,
  }),

  "session.name.get": allow("The session's own name."),
  "session.name.set": allow("The session's own name.", plain("name")),
  "session.name.setAuto": allow("The session's own name.", plain("summary")),

  "session.plan.read": allow("The session's own plan."),
  "session.plan.update": allow("The session's own plan.", plain("content")),
  "session.plan.delete": allow("The session's own plan."),
  "session.plan.readSqlTodos": allow("The session's own plan."),
  "session.plan.readSqlTodosWithDependencies": allow("The session's own plan."),

  "session.workspaces.getWorkspace": allow(inside),
  "session.workspaces.updateMetadata": allow(inside, { name: yes, context: recordedCwd }),
  "session.workspaces.ensure": allow(inside, { context: recordedCwd }),
  "session.workspaces.listFiles": allow(inside),
  "session.workspaces.readFile": allow(inside, { path: check("relativePath") }),
  "session.workspaces.createFile": allow(inside, { path: check("relativePath"), content: yes }),
  "session.workspaces.statFile": allow(inside, { path: check("relativePath") }),
  "session.workspaces.createDirectory": allow(inside, { path: check("relativePath"), recursive: yes }),
  "session.workspaces.removePath": allow(inside, {
    path: check("relativePath"),
    ...plain("recursive", "force"),
  }),
  "session.workspaces.renamePath": allow(inside, {
    source: check("relativePath"),
    destination: check("relativePath"),
  }),
  "session.workspaces.listCheckpoints": allow(inside),
  "session.workspaces.readCheckpoint": allow(inside, plain("number")),
  "session.workspaces.addSummary": allow(inside, plain("title", "content")),
  "session.workspaces.truncateSummaries": allow(inside, plain("keepCount")),
  "session.workspaces.readAutopilotObjective": allow(inside),
  "session.workspaces.writeAutopilotObjective": allow(inside, plain("content")),
  "session.workspaces.deleteAutopilotObjective": allow(inside),
  "session.workspaces.autopilotObjectiveExists": allow(inside),
  "session.workspaces.saveLargePaste": allow(inside, plain("content")),
  "session.autopilotObjective.getState": allow("The session's own objective."),

  "session.history.compact": allow(
    "The session's own history.",
    plain("customInstructions", "trigger", "tokenLimit"),
  ),
  "session.history.truncate": allow("The session's own history.", plain("eventId")),
  "session.history.listRewindPoints": allow("The session's own history."),
  "session.history.previewRewind": allow("The session's own history.", plain("eventId")),
  "session.history.rewind": allow(
    "The session's own history, and files that its own turns changed.",
    plain("eventId", "mode"),
  ),
  ...allowAll("The session's own history.", [
    "session.history.cancelBackgroundCompaction",
    "session.history.abortManualCompaction",
    "session.history.summarizeForHandoff",
  ]),
  "session.history.clearContext": allow(
    "The session's own history, from inside a tool call.",
    plain("prompt"),
  ),

  "session.agent.list": allow(
    "Agents of this session; their tools are at most the session's.",
    plain("includeBuiltInAgents", "includePrompt"),
  ),
  "session.agent.getCurrent": allow("Agents of this session."),
  "session.agent.select": allow("Agents of this session.", plain("name")),
  "session.agent.deselect": allow("Agents of this session."),
  "session.agent.setPrompt": allow("Agents of this session.", plain("id", "prompt")),
  "session.agent.reload": allow("Finds only what the session was given: discovery is off."),
  "session.skills.list": allow("Skills of this session."),
  "session.skills.getInvoked": allow("Skills of this session."),
  "session.skills.ensureLoaded": allow("Finds none: skills are off."),
  "session.skills.reload": allow("Finds none: skills are off."),
  "session.skills.enable": allow("Changes this session only; stores no setting.", plain("name")),
  "session.skills.disable": allow("Changes this session only; stores no setting.", plain("name")),
  "session.instructions.getSources": allow("The instructions that this session has."),

  "session.metadata.snapshot": allow("Facts about the session."),
  "session.metadata.getClientMetadata": allow("The client's own labels of the session."),
  "session.metadata.updateClientMetadata": allow(
    "The client's own labels of the session.",
    plain("clear", "remove", "set"),
  ),
  ...allowAll("Facts about the session.", [
    "session.metadata.isProcessing",
    "session.metadata.activity",
    "session.metadata.getContextAttribution",
  ]),
  "session.metadata.contextInfo": allow(
    "Facts about the session.",
    plain("promptTokenLimit", "outputTokenLimit", "selectedModel"),
  ),
  "session.metadata.getContextHeaviestMessages": allow("Facts about the session.", plain("limit")),
  "session.metadata.recomputeContextTokens": allow("Facts about the session.", plain("modelId")),
  "session.metadata.setWorkingDirectory": allow("Only inside the policy's directories.", {
    workingDirectory: gate("workingDirectories", "directory"),
  }),

  "session.usage.getMetrics": allow("What this session used."),
  "session.limitPrediction.predict": allow("What this session may need.", plain("modelId", "clientType")),
  "session.completions.getTriggerCharacters": allow("Completions of a host; empty here."),
  "session.completions.request": allow("Completions of a host; empty here.", plain("text", "offset")),
  "session.log": allow(
    "Writes an entry into the session's own history.",
    plain("message", "level", "type", "ephemeral", "url", "tip"),
  ),
  "session.telemetry.getEngagementId": allow("A random id of this session."),
  "session.gitHubAuth.getStatus": allow("As whom this session speaks to GitHub."),

  "session.canvas.list": allow("Canvases that clients of this session declared."),
  "session.canvas.listOpen": allow("Canvases that clients of this session declared."),
  "session.canvas.open": allow(
    "Canvases that clients of this session declared.",
    plain("extensionId", "canvasId", "instanceId", "input"),
  ),
  "session.canvas.close": allow("Canvases that clients of this session declared.", plain("instanceId")),
  "session.canvas.action.invoke": allow(
    "Canvases that clients of this session declared.",
    plain("instanceId", "actionName", "input"),
  ),
};
