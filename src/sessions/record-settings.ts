import { isObject, type Json, type JsonObject } from "../kernel/json.ts";

/** What a session is created or resumed with, and the options that are given after that and so count more. */
export interface Settings {
  readonly parameters: JsonObject;
  readonly options: JsonObject;
}

const omit = (values: JsonObject, names: readonly string[]): JsonObject =>
  Object.fromEntries(Object.entries(values).filter(([name]) => !names.includes(name)));

/** Sets parameters, so that no option undoes them; undefined takes one away. */
const withParameters = (
  { parameters, options }: Settings,
  changed: Readonly<Record<string, Json | undefined>>,
): Settings => {
  const names = Object.keys(changed);
  const given = Object.entries(changed).filter(([, value]) => value !== undefined);
  return {
    parameters: { ...omit(parameters, names), ...(Object.fromEntries(given) as JsonObject) },
    options: omit(options, names),
  };
};

const text = (value: unknown): string | undefined => (typeof value === "string" ? value : undefined);

/** After `session.model_change`. What the event does not mention stays as it was. */
export const afterModelChange = (settings: Settings, data: Record<string, unknown>): Settings => {
  const model = text(data.newModel);
  if (model === undefined) return settings;
  const effort = text(data.reasoningEffort);
  const changed = withParameters(settings, {
    model,
    ...((data.previousReasoningEffort !== undefined || effort !== undefined) && { reasoningEffort: effort }),
    ...(data.contextTier !== undefined && { contextTier: text(data.contextTier) }),
    ...(data.reasoningSummary !== undefined && { reasoningSummary: text(data.reasoningSummary) }),
  });
  const verbosity = text(data.verbosity);
  return verbosity === undefined ? changed : { ...changed, options: { ...changed.options, verbosity } };
};

/** After a change that no event tells: the answer of `session.model.getCurrent`. */
export const afterModelRead = (settings: Settings, current: unknown): Settings => {
  const model = isObject(current) ? text(current.modelId) : undefined;
  if (!isObject(current) || model === undefined) return settings;
  return withParameters(settings, {
    model,
    reasoningEffort: text(current.reasoningEffort),
    contextTier: text(current.contextTier),
  });
};

const member = (
  settings: Settings,
  list: "disabledSkills" | "disabledMcpServers",
  name: unknown,
  present: boolean,
): Settings => {
  const stored = settings.options[list] ?? settings.parameters[list];
  const names = Array.isArray(stored) ? stored : [];
  const item = text(name);
  if (item === undefined || names.includes(item) === present) return settings;
  return withParameters(settings, {
    [list]: present ? [...names, item] : names.filter((one) => one !== item),
  });
};

/** After a successful call; the same settings when it changes none of them. */
export const settingsAfter = (settings: Settings, method: string, params: JsonObject): Settings => {
  switch (method) {
    case "session.skills.disable":
      return member(settings, "disabledSkills", params.name, true);
    case "session.skills.enable":
      return member(settings, "disabledSkills", params.name, false);
    case "session.mcp.disable":
      return member(settings, "disabledMcpServers", params.serverName, true);
    case "session.mcp.enable":
      return member(settings, "disabledMcpServers", params.serverName, false);
    case "session.mcp.setEnvValueMode":
      return withParameters(settings, { envValueMode: params.mode });
    case "session.model.switchTo":
      return params.modelCapabilities === undefined
        ? settings
        : {
            parameters: { ...settings.parameters, modelCapabilities: params.modelCapabilities },
            options: omit(settings.options, ["modelCapabilitiesOverrides"]),
          };
    default:
      return settings;
  }
};

/** As an option, the limits would be written into the history at every wake; the history knows already that they were lifted. */
export const afterOptions = (settings: Settings, changed: JsonObject): Settings => {
  const { sessionLimits, ...options } = changed;
  const next = { ...settings, options: { ...settings.options, ...options } };
  return sessionLimits === undefined
    ? next
    : withParameters(next, { sessionLimits: sessionLimits === null ? undefined : sessionLimits });
};

/**
 * After another agent was selected, or none. The history knows which, and bears one that is gone; the parameter of
 * create would bring a deselected one back, and fail for one that is gone.
 */
export const afterAgent = (settings: Settings): Settings =>
  settings.parameters.agent === undefined ? settings : withParameters(settings, { agent: undefined });

/**
 * After the session went to a directory. Its files would tell it too, but not which directory of a runtime's own that
 * is in the next one, nor whether the policy still allows it.
 */
export const afterDirectory = (settings: Settings, directory: string): Settings =>
  settings.parameters.workingDirectory === directory && settings.options.workingDirectory === undefined
    ? settings
    : withParameters(settings, { workingDirectory: directory });
