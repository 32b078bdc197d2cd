import { allow, allowAll, check, drop, gate, no, plain, unlessAll, type Verdicts, yes } from "./verdict.ts";

const answer = "Answers a request that the session made to this client.";

/** What makes, steers, answers and watches a turn. */
export const sessionTurnVerdicts: Verdicts = {
  "session.send": allow("Queued by the node as a turn.", {
    ...plain(
      "prompt",
      "displayPrompt",
      "requiredTool",
      "mode",
      "responseFormat",
      "traceparent",
      "tracestate",
    ),
    attachments: gate("workingDirectories", "attachments"),
    agentMode: unlessAll(check("agentMode")),
    source: unlessAll(check("source")),
    billable: drop("Whether a message is billed is not the client's choice."),
    prepend: no("Turns of a session run first in, first out."),
    wait: no("The node answers when it has taken the message; wait for session.idle."),
    requestHeaders: no("They would go to the model provider beside the operator's credential."),
  }),
  "session.abort": allow("Ends one's own turn.", plain("reason")),
  "session.cancelAllBackgroundAgents": allow("Ends work of this session only."),
  "session.suspend": allow("Flushes the session and cancels what waits; it stays usable."),
  "session.getMessages": allow("The session's own history."),

  "session.tools.handlePendingToolCall": allow(answer, plain("requestId", "result", "error")),
  "session.tools.execute": allow(
    "Runs a tool that the policy already offers to the model.",
    plain("name", "arguments", "toolCallId"),
  ),
  "session.tools.getCurrentMetadata": allow("Lists the tools that the policy offers."),
  "session.tools.initializeAndValidate": allow("Builds the tools that the policy offers."),
  "session.tools.updateSubagentSettings": allow(
    "Limits of subagents; their tools stay the session's.",
    plain("subagents"),
  ),

  "session.permissions.handlePendingPermissionRequest": allow(answer, {
    ...plain("requestId", "decisionContext"),
    result: unlessAll(check("permissionDecision")),
  }),
  ...allowAll("Reads what this session's client is asked.", [
    "session.permissions.pendingRequests",
    "session.permissions.getMode",
    "session.permissions.paths.list",
  ]),
  "session.permissions.resetSessionApprovals": allow("Takes approvals of this session back.", {
    includeLocation: unlessAll(no("Approvals of a location are shared by the sessions of a runtime.")),
  }),
  "session.permissions.notifyPromptShown": allow(
    "Tells hooks of this session that a prompt is shown.",
    plain("message"),
  ),
  "session.permissions.paths.add": allow(
    "Widens what tools may touch: only inside the policy's directories.",
    {
      path: gate("workingDirectories", "directory"),
    },
  ),
  "session.permissions.paths.updatePrimary": allow(
    "Moves what tools may touch: only inside the policy's directories.",
    {
      path: gate("workingDirectories", "directory"),
    },
  ),
  "session.permissions.paths.isPathWithinAllowedDirectories": allow("Compares with the session's own list.", {
    path: gate("workingDirectories", "directory"),
  }),
  "session.permissions.paths.isPathWithinWorkspace": allow("Compares with the session's own list.", {
    path: gate("workingDirectories", "directory"),
  }),

  "session.ui.handlePendingElicitation": allow(answer, plain("requestId", "result")),
  "session.ui.handlePendingUserInput": allow(answer, plain("requestId", "response")),
  "session.ui.handlePendingSampling": allow(answer, plain("requestId", "response")),
  "session.ui.handlePendingAutoModeSwitch": allow(answer, plain("requestId", "response")),
  "session.ui.handlePendingSessionLimitsExhausted": allow(answer, plain("requestId", "response")),
  "session.ui.handlePendingExitPlanMode": allow(answer, plain("requestId", "response")),
  "session.ui.elicitation": allow(
    "Asks a client of this session.",
    plain("mode", "message", "requestedSchema", "_meta", "task"),
  ),
  "session.ui.ephemeralQuery": allow("A question to the model without tools.", {
    question: yes,
    onChunk: no("A function cannot cross the wire."),
    abortSignal: no("A function cannot cross the wire."),
  }),

  "session.commands.list": allow(
    "Lists what can be invoked.",
    plain("includeBuiltins", "includeSkills", "includeClientCommands"),
  ),
  "session.commands.invoke": allow("Only commands that stay inside the session.", {
    name: unlessAll(check("slashCommand")),
    ...plain("input", "origin"),
  }),
  "session.commands.enqueue": allow("Only commands that stay inside the session.", {
    command: unlessAll(check("slashCommand")),
    displayText: yes,
  }),
  "session.commands.execute": allow(
    "Runs only commands that a client of the session registered.",
    plain("commandName", "args"),
  ),
  "session.commands.handlePendingCommand": allow(answer, plain("requestId", "error")),
  "session.commands.respondToQueuedCommand": allow(answer, plain("requestId", "result")),

  "session.queue.pendingItems": allow("What waits in this session."),
  "session.queue.removeMostRecent": allow("Takes back what waits in this session."),
  "session.queue.clear": allow("Takes back what waits in this session."),

  "session.tasks.startAgent": allow("A subagent has at most the session's tools.", {
    ...plain("agentType", "prompt", "name", "description"),
    model: gate("models", "model"),
  }),
  ...allowAll("Background work of this session.", [
    "session.tasks.list",
    "session.tasks.refresh",
    "session.tasks.waitForPending",
    "session.tasks.getCurrentPromotable",
    "session.tasks.promoteCurrentToBackground",
  ]),
  "session.tasks.getProgress": allow("Background work of this session.", plain("id")),
  "session.tasks.promoteToBackground": allow("Background work of this session.", plain("id")),
  "session.tasks.cancel": allow("Background work of this session.", plain("id")),
  "session.tasks.remove": allow("Background work of this session.", plain("id")),
  "session.tasks.sendMessage": allow(
    "Background work of this session.",
    plain("id", "message", "fromAgentId"),
  ),
  "session.tasks.register": allow(
    "Work that this client itself does.",
    plain("type", "clientTaskId", "description", "displayName", "cancellable", "expectedSequence"),
  ),
  "session.tasks.update": allow("Work that this client itself does.", plain("id", "sequence", "update")),

  "session.eventLog.read": allow(
    "The session's own events.",
    plain("cursor", "max", "waitMs", "types", "agentScope", "agentIds", "direction", "includeEphemeral"),
  ),
  "session.eventLog.tail": allow("The session's own events."),
  "session.eventLog.registerInterest": allow("Which events this client answers.", plain("eventType")),
  "session.eventLog.releaseInterest": allow("Which events this client answers.", plain("handle")),

  "session.schedule.list": allow("What was planned in this session."),
  "session.schedule.stop": allow("Takes back what was planned in this session.", plain("id")),
};
