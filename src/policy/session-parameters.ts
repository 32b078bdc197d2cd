import type { Policy } from "../config/config.ts";
import { isObject } from "../kernel/json.ts";
import { noLongerAllowed } from "./recorded.ts";
import { keepAllowedTools } from "./tools.ts";

/**
 * What the SDK's mode "empty" merely asks for, and the node enforces: a runtime that serves several users looks at
 * nothing on its host, shares nothing between sessions and tells nobody outside.
 */
const forced = {
  isExperimentalMode: false,
  enableSessionTelemetry: false,
  enableConfigDiscovery: false,
  mcpOAuthTokenStorage: "in-memory",
  skipEmbeddingRetrieval: true,
  embeddingCacheStorage: "in-memory",
  enableOnDemandInstructionDiscovery: false,
  enableFileHooks: false,
  enableHostGitOperations: false,
  enableSessionStore: false,
  enableSkills: false,
  memory: { enabled: false },
  customAgentsLocalOnly: true,
  envValueMode: "direct",
  toolFilterPrecedence: "excluded",
} as const;

/**
 * The judged parameters of create or resume with what the policy says instead of, or beside, what the client says,
 * whatever mode the client claims. Never throws: what a client asked for was judged when it asked (`judgeCall`), and
 * what was recorded and the policy allows no longer is left out. With `allow: all` the client decides, as on a runtime
 * of its own; only tokens of MCP servers stay in memory unless it says otherwise, because files are stored.
 */
export const enforceSessionParameters = (
  policy: Policy,
  params: Readonly<Record<string, unknown>>,
): Record<string, unknown> => {
  const infiniteSessions = params.infiniteSessions ?? { ...policy.sessions.infinite };
  if (policy.allow.all) {
    return {
      ...params,
      mcpOAuthTokenStorage: params.mcpOAuthTokenStorage ?? forced.mcpOAuthTokenStorage,
      infiniteSessions,
    };
  }
  const gone = new Set(noLongerAllowed(policy, "session.resume", params));
  return {
    ...Object.fromEntries(Object.entries(params).filter(([name]) => !gone.has(name))),
    ...forced,
    availableTools: keepAllowedTools(policy.allow.tools, params.availableTools),
    infiniteSessions,
    systemMessage: withoutEnvironment(params.systemMessage),
    ...(Array.isArray(params.models) && { models: params.models.map(withoutEnvironmentInModel) }),
  };
};

/**
 * What is sent as `session.options.update` after every create and resume, over the options that were recorded:
 * the part of the policy that create and resume do not take. An `undefined` takes a recorded option back. With
 * `allow: all` there is nothing to send.
 */
export const optionsPatch = (
  policy: Policy,
  recorded: Readonly<Record<string, unknown>> = {},
): Record<string, unknown> =>
  policy.allow.all
    ? {}
    : {
        ...Object.fromEntries(
          noLongerAllowed(policy, "session.options.update", recorded).map((name) => [name, undefined]),
        ),
        ...(recorded.availableTools !== undefined && {
          availableTools: keepAllowedTools(policy.allow.tools, recorded.availableTools),
          toolFilterPrecedence: "excluded",
        }),
        skipCustomInstructions: true,
        customAgentsLocalOnly: true,
        coauthorEnabled: false,
        manageScheduleEnabled: false,
        installedPlugins: [],
        includedBuiltinSkills: [],
      };

const environmentRemoved = { environment_context: { action: "remove" } } as const;

/**
 * The system message without the section that describes the host, unless the client replaced the whole message or
 * took control of that section. The same rules as the SDK's mode "empty".
 */
const withoutEnvironment = (supplied: unknown): unknown => {
  if (!isObject(supplied)) return { mode: "customize", sections: environmentRemoved };
  const { mode, content, sections } = supplied;
  if (mode === "replace") return supplied;
  if (mode !== "customize") return { mode: "customize", content, sections: environmentRemoved };
  const own = isObject(sections) ? sections : {};
  return own.environment_context ? supplied : { ...supplied, sections: { ...own, ...environmentRemoved } };
};

/** A model of a client's own provider may bring a message of its own, to which the same applies. */
const withoutEnvironmentInModel = (model: unknown): unknown =>
  isObject(model) && model.systemMessage !== undefined
    ? { ...model, systemMessage: withoutEnvironment(model.systemMessage) }
    : model;
