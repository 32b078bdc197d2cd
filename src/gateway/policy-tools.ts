import type { HttpMcpServer, HttpSessions, WebhookTool } from "../config/http-sessions.ts";
import { isObject, type JsonObject } from "../kernel/json.ts";
import { type Declarations, nothingDeclared } from "./declarations.ts";

/** As an SDK client would declare it. */
const declarationOf = ({ name, description, parameters, needsPermission }: WebhookTool): JsonObject => ({
  name,
  description,
  parameters,
  skipPermission: !needsPermission,
  // A runtime refuses the whole session otherwise when it has a tool of this name.
  overridesBuiltInTool: true,
});

/** What the policy declares for a session, like one more client: the last one, so that its tools count and no other's of their names. */
export const policyDeclares = ({ tools, mcpServers }: HttpSessions): Declarations => ({
  ...nothingDeclared,
  flags: new Set(
    tools.length > 0 || Object.keys(mcpServers).length > 0 ? (["requestPermission"] as const) : [],
  ),
  lists: { ...nothingDeclared.lists, tools: tools.map(declarationOf) },
});

const serverFor = ({ url, headers, tools }: HttpMcpServer): JsonObject => ({
  type: "http",
  url,
  headers: Object.fromEntries(Object.entries(headers).map(([name, value]) => [name, value.reveal()])),
  tools: [...tools],
});

/** The policy's message stands first, whatever the session's own is; if either replaces the runtime's, both together do. */
const joined = (given: NonNullable<HttpSessions["systemMessage"]>, asked: unknown): unknown => {
  if (!isObject(asked)) return { ...given };
  const own = typeof asked.content === "string" ? asked.content : "";
  const content = own === "" ? given.content : `${given.content}\n\n${own}`;
  const mode = given.mode === "replace" || asked.mode === "replace" ? "replace" : (asked.mode ?? "append");
  return { ...asked, mode, content };
};

/** The session's own parameters with the policy's system message, before the policy's rules are put on them. */
export const withPolicyMessage = (given: HttpSessions, parameters: JsonObject): Record<string, unknown> =>
  given.systemMessage === undefined
    ? parameters
    : { ...parameters, systemMessage: joined(given.systemMessage, parameters.systemMessage) };

/**
 * The parameters for the runtime with the policy's MCP servers, and with all its tools offered unless the client has
 * said which tools it wants. What a policy gives need not be in its `allow`, which is about what clients bring.
 */
export const withPolicyTools = (
  { tools, mcpServers }: HttpSessions,
  parameters: Readonly<Record<string, unknown>>,
  asked: JsonObject,
): Record<string, unknown> => {
  const servers = Object.entries(mcpServers);
  const offered = Array.isArray(parameters.availableTools) ? parameters.availableTools : undefined;
  const given = [
    ...tools.map(({ name }) => `custom:${name}`),
    ...servers.flatMap(([server, one]) =>
      one.tools.map((tool) => (tool === "*" ? "mcp:*" : `mcp:${server}-${tool}`)),
    ),
  ];
  return {
    ...parameters,
    ...(servers.length > 0 && {
      mcpServers: {
        ...(isObject(parameters.mcpServers) ? parameters.mcpServers : {}),
        ...Object.fromEntries(servers.map(([name, server]) => [name, serverFor(server)])),
      },
    }),
    ...(offered !== undefined &&
      asked.availableTools === undefined && { availableTools: [...new Set([...offered, ...given])] }),
  };
};
