import { check, denyUnlessAll, no, plain, type Verdicts } from "./verdict.ts";

const run = plain("runId");
const page = plain("afterSeq", "beforeSeq", "limit");
const providerHeaders = no("They would go to the model provider beside the operator's credential.");
const toldByIdle = no("The node answers when it has taken the message; wait for session.idle.");

/** Methods about one session that a client may use where the policy says `allow: all`. */
export const sessionUnlessAllVerdicts: Verdicts = {
  ...denyUnlessAll("Runs a command on the runtime's host, whatever tools the session has.", "allow", {
    "session.shell.exec": plain("command", "cwd", "timeout"),
    "session.shell.kill": plain("processId", "signal"),
    "session.shell.executeUserRequested": plain("requestId", "command"),
    "session.shell.cancelUserRequested": plain("requestId"),
  }),
  ...denyUnlessAll("Runs git in the working directory on the host.", "allow", {
    "session.workspaces.diff": plain("mode", "ignoreWhitespace"),
  }),
  ...denyUnlessAll("Starts language servers on the host.", "allow", {
    "session.lsp.initialize": plain("workingDirectory", "gitRoot", "force"),
  }),
  ...denyUnlessAll("Reads files of the host.", "allow", {
    "session.contentExclusion.checkPaths": plain("paths"),
  }),
  ...denyUnlessAll("Copies files of the host into files of the host.", "allow", {
    "session.debug.collectLogs": plain("destination", "include", "additionalEntries"),
  }),
  ...denyUnlessAll("It records a directory of the host for the session.", "allow", {
    "session.metadata.recordContextChange": plain("context"),
  }),
  ...denyUnlessAll("Sandboxing is the operator's.", "allow", {
    "session.sandbox.getEnforcementStatus": {},
    "session.sandbox.disableForSession": plain("requestId", "decisionContext"),
  }),

  ...denyUnlessAll(
    "Gives tools more than the policy allows; answer permission requests one by one instead.",
    "allow",
    {
      "session.permissions.configure": plain(
        "approveAllToolPermissionRequests",
        "approveAllReadPermissionRequests",
        "rules",
        "paths",
        "urls",
        "additionalContentExclusionPolicies",
      ),
      "session.permissions.setApproveAll": plain("enabled", "source"),
      "session.permissions.setMode": plain("mode", "assistedApprovalModel", "source"),
      "session.permissions.modifyRules": plain("scope", "add", "remove", "removeAll"),
      "session.permissions.urls.setUnrestrictedMode": plain("enabled"),
    },
  ),
  ...denyUnlessAll("Trust and approvals of a location are shared by the sessions of a runtime.", "allow", {
    "session.permissions.locations.resolve": plain("workingDirectory"),
    "session.permissions.locations.apply": plain("workingDirectory"),
    "session.permissions.locations.addToolApproval": plain("locationKey", "approval"),
    "session.permissions.folderTrust.isTrusted": plain("path"),
    "session.permissions.folderTrust.addTrusted": plain("path"),
  }),

  ...denyUnlessAll("It would start a turn past the node's queue; use session.send.", "allow", {
    "session.sendMessages": {
      ...plain("mode", "prepend", "agentMode", "responseFormat", "traceparent", "tracestate"),
      messages: check("messages"),
      requestHeaders: providerHeaders,
      wait: toldByIdle,
    },
    "session.fleet.start": { ...plain("prompt", "attachments", "billable"), wait: toldByIdle },
    "session.sendSystemNotification": plain("message", "kind", "options"),
  }),
  ...denyUnlessAll("It ends whoever's turn runs; session.abort ends one's own.", "allow", {
    "session.interruptMainTurn": plain("flushQueued"),
  }),
  ...denyUnlessAll(
    "Turns wait in the node's queue; nothing is put into the runtime's or moved there.",
    "allow",
    {
      "session.queue.snapshot": {},
      "session.queue.moveItem": plain("id", "toPosition"),
      "session.queue.insertAt": { ...plain("position"), message: check("message") },
      "session.queue.removeAt": plain("id"),
      "session.queue.updateText": plain("id", "prompt", "displayPrompt"),
      "session.queue.duplicateAt": plain("id"),
      "session.queue.setDrainPaused": plain("paused"),
      "session.queue.sendNow": plain("id"),
      "session.queue.hasPending": {},
      "session.queue.consumeSystemNotifications": plain("filter"),
    },
  ),
  ...denyUnlessAll(
    "Timers in a runtime do not survive its sleep, and would start turns that nobody queued.",
    "allow",
    {
      "session.schedule.hasSelfPaced": {},
      "session.schedule.add": plain("interval", "prompt", "recurring", "displayPrompt"),
      "session.schedule.addCron": plain("cron", "prompt", "recurring", "displayPrompt", "tz"),
      "session.schedule.addAt": plain("at", "prompt", "recurring", "displayPrompt"),
      "session.schedule.addSelfPaced": plain("prompt", "displayPrompt"),
      "session.schedule.rearmSelfPaced": plain("id", "at"),
    },
  ),

  ...denyUnlessAll("Which models a session may use is the policy's.", "allow", {
    "session.model.applyStartupOverlay": plain(
      "deviceManagedModel",
      "serverManagedModel",
      "policyHelperModel",
      "repoModel",
      "repoReasoningEffort",
      "repoContextTier",
      "repoAutoTier",
      "cliModel",
      "deferredResume",
    ),
    "session.model.setAllowedModels": plain("allowedModels"),
  }),
  ...denyUnlessAll("It tells how the runtime is made, not what the session may do.", "allow", {
    "session.commands.finalizeInvocationEffect": plain("effect", "outcome"),
    "session.tools.getBuiltinDescriptors": plain(
      "reduceUserIntervention",
      "includeAuthor",
      "skillEmbeddingEnabled",
      "shellConfig",
      "shellSupportsPowerShell7Syntax",
      "shellTimeoutMs",
      "backgroundTaskNotificationsEnabled",
    ),
    "session.tools.taskCompleteEventData": plain("toolArgs", "finalResult"),
    "session.settings.snapshot": {},
    "session.settings.evaluatePredicate": plain("name", "toolName"),
  }),

  ...denyUnlessAll(
    "Opens a loopback page and stores tokens on the host; answer mcp.oauth_required instead.",
    "allow",
    {
      "session.mcp.oauth.login": plain(
        "serverName",
        "forceReauth",
        "clientName",
        "callbackSuccessMessage",
        "clientId",
        "clientSecret",
        "publicClient",
        "grantType",
      ),
    },
  ),
  ...denyUnlessAll("Stored in the settings of the runtime, which others share.", "allow", {
    "session.mcp.enable": plain("serverName"),
    "session.mcp.disable": plain("serverName"),
  }),
  ...denyUnlessAll("Reads the MCP settings of the host again.", "allow", {
    "session.mcp.reload": {},
    "session.mcp.reloadWithConfig": plain("config"),
  }),
  ...denyUnlessAll("Would resolve values from the environment of the runtime.", "allow", {
    "session.mcp.setEnvValueMode": plain("mode"),
  }),

  ...denyUnlessAll("Plugins and extensions run as the runtime's user.", "allow", {
    "session.plugins.list": {},
    "session.plugins.reload": plain(
      "reloadMcp",
      "reloadCustomAgents",
      "reloadHooks",
      "reloadExtensions",
      "deferRepoHooks",
    ),
    "session.extensions.list": {},
    "session.extensions.enable": plain("id"),
    "session.extensions.disable": plain("id"),
    "session.extensions.reload": {},
    "session.extensions.sendAttachmentsToMessage": plain("instanceId", "attachments"),
  }),
  ...denyUnlessAll("Factories belong to extensions, which run as the runtime's user.", "allow", {
    "session.factory.run": plain("name", "args", "options"),
    "session.factory.resume": { ...run, ...plain("limits", "notifyOnComplete", "logPhaseNames") },
    "session.factory.runFromTool": plain("name", "args", "options", "toolCallId"),
    "session.factory.resumeFromTool": { ...run, ...plain("limits", "toolCallId") },
    "session.factory.getRun": run,
    "session.factory.listRuns": page,
    "session.factory.getRunDetail": run,
    "session.factory.getRunProgress": { ...run, ...page, ...plain("phaseId") },
    "session.factory.cancel": run,
    "session.factory.pause": run,
  }),

  ...denyUnlessAll("Telemetry of a runtime is the operator's.", "allow", {
    "session.telemetry.setFeatureOverrides": plain("features"),
  }),
  ...denyUnlessAll("Publishes the session outside the node.", "allow", {
    "session.remote.enable": plain("mode"),
    "session.remote.disable": {},
    "session.remote.notifySteerableChanged": plain("remoteSteerable"),
    "session.visibility.get": {},
    "session.visibility.set": plain("status"),
  }),
};
