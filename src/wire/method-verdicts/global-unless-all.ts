import { denyUnlessAll, plain, type Verdicts } from "./verdict.ts";

const projects = plain("projectPaths");

/**
 * Methods about a whole runtime that a client may use where the policy says `allow: all`: the runtime is its user's
 * alone then. The directory of sessions stays the node's.
 */
export const globalUnlessAllVerdicts: Verdicts = {
  ...denyUnlessAll(
    "Reads a session past its owner's attachment; use session.getMessages or session.eventLog.read.",
    "allow",
    {
      "sessions.readPersistedEvents": plain("sessionId", "cursor", "max", "direction"),
      "sessions.getBoardEntryCount": plain("sessionId"),
      "sessions.getPersistedRemoteSteerable": plain("sessionId"),
    },
  ),
  ...denyUnlessAll("Shows or changes files of the runtime's host.", "allow", {
    "sessions.getEventFilePath": plain("sessionId"),
    "sessions.releaseLock": plain("sessionId"),
  }),
  ...denyUnlessAll("Loads hooks, which run as the runtime's user.", "allow", {
    "sessions.reloadPluginHooks": plain("sessionId", "deferRepoHooks"),
    "sessions.loadDeferredRepoHooks": plain("sessionId"),
  }),
  ...denyUnlessAll("Publishes the session outside the node.", "allow", {
    "sessions.startRemoteControl": plain("sessionId", "config"),
  }),
  ...denyUnlessAll("Remote control is one per runtime.", "unit", {
    "sessions.transferRemoteControl": plain("toSessionId", "expectedFromSessionId"),
    "sessions.setRemoteControlSteering": plain("enabled"),
    "sessions.stopRemoteControl": plain("expectedSessionId", "force"),
    "sessions.getRemoteControlStatus": {},
  }),
  ...denyUnlessAll("Ranks, measures or deletes many sessions at once; session.list has one's own.", "local", {
    "sessions.enrichMetadata": plain("sessions"),
    "sessions.findByTaskId": plain("taskId"),
    "sessions.getLastForContext": plain("context"),
    "sessions.getSizes": {},
    "sessions.pruneOld": plain("olderThanDays", "dryRun", "includeNamed", "excludeSessionIds"),
  }),
  ...denyUnlessAll("Extensions run as the runtime's user.", "local", {
    registerExtensionLaunchProvider: {},
  }),
  ...denyUnlessAll(
    "Lists what a runtime offers before any policy; use session.tools.getCurrentMetadata, session.commands.list or models.list.",
    "unit",
    { "tools.list": plain("model"), "commands.list": {}, "models.getBuiltInCatalog": {} },
  ),
  ...denyUnlessAll(
    "Accounts of the host are the operator's; a session has the gitHubToken that it was given.",
    "unit",
    {
      "account.getQuota": plain("selectionId", "gitHubToken"),
      "account.getCurrentAuth": {},
      "account.getAllUsers": {},
    },
  ),
  ...denyUnlessAll("Changes how a runtime redacts the logs of everybody's sessions.", "unit", {
    "secrets.addFilterValues": plain("values"),
  }),
  ...denyUnlessAll("Settings belong to a runtime, not to one of its clients.", "unit", {
    "user.settings.reload": {},
    "user.settings.get": {},
    "user.settings.set": plain("settings"),
    "managedSettings.read": {},
    "managedSettings.clearCache": {},
    "skills.config.setDisabledSkills": plain("disabledSkills"),
    "skills.config.setSkillDisabled": plain("name", "disabled"),
  }),
  ...denyUnlessAll("Reads directories of the host.", "unit", {
    "hooks.discover": { ...projects, ...plain("excludeHostHooks") },
    "skills.discover": { ...projects, ...plain("skillDirectories", "excludeHostSkills") },
    "skills.getDiscoveryPaths": { ...projects, ...plain("excludeHostSkills") },
    "agents.discover": { ...projects, ...plain("excludeHostAgents") },
    "agents.getDiscoveryPaths": { ...projects, ...plain("excludeHostAgents") },
    "instructions.discover": { ...projects, ...plain("excludeHostInstructions") },
    "instructions.getDiscoveryPaths": { ...projects, ...plain("excludeHostInstructions") },
    "mcp.discover": plain("workingDirectory", "includeEffectiveSource"),
    "extensions.discover": {},
  }),
  ...denyUnlessAll("MCP servers are a session's (mcpServers of session.create), not a runtime's.", "unit", {
    "mcp.config.list": {},
    "mcp.config.add": plain("name", "config"),
    "mcp.config.update": plain("name", "config"),
    "mcp.config.remove": plain("name", "authClientIdMetadataUrl"),
    "mcp.config.enable": plain("names"),
    "mcp.config.disable": plain("names"),
    "mcp.config.reload": {},
    "mcp.planInstall": plain("contract", "source", "scope"),
    "catalog.search": plain("contract", "query", "limit", "kinds"),
  }),
  ...denyUnlessAll("Plugins and extensions run as the runtime's user.", "unit", {
    "extensions.enable": plain("ids"),
    "extensions.disable": plain("ids"),
    "plugins.list": {},
    "plugins.install": plain("source", "workingDirectory"),
    "plugins.uninstall": plain("name", "directSourceId"),
    "plugins.update": plain("name"),
    "plugins.updateAll": {},
    "plugins.enable": plain("names", "workingDirectory"),
    "plugins.disable": plain("names", "workingDirectory"),
    "plugins.marketplaces.list": {},
    "plugins.marketplaces.add": plain("source", "workingDirectory"),
    "plugins.marketplaces.remove": plain("name", "force"),
    "plugins.marketplaces.browse": plain("name"),
    "plugins.marketplaces.refresh": plain("name"),
  }),
};
