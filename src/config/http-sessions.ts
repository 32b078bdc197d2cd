import { z } from "zod";
import { isObject, type JsonObject } from "../kernel/json.ts";
import type { Secret } from "../kernel/secret.ts";
import { formatDuration, formatSize } from "../kernel/units.ts";
import { choice, duration, group, list, map, secret, section, text, yesOrNo } from "./fields.ts";

/** A web service of the operator's that is asked with a signed request. */
export interface Webhook {
  readonly url: string;
  /** `whsec_…`, as Standard Webhooks writes keys. */
  readonly secret: Secret;
  /** Until its answer has come whole. */
  readonly timeoutMs: number;
  readonly headers: Readonly<Record<string, Secret>>;
}

/** A tool whose calls the node answers by asking a webhook. */
export interface WebhookTool {
  readonly name: string;
  readonly description: string;
  /** JSON schema of its arguments. */
  readonly parameters: JsonObject;
  /** Must somebody allow each call? */
  readonly needsPermission: boolean;
  readonly webhook: Webhook;
}

/** An MCP server that the runtime asks itself. */
export interface HttpMcpServer {
  readonly url: string;
  readonly headers: Readonly<Record<string, Secret>>;
  /** Names of its tools, or `*`. */
  readonly tools: readonly string[];
  /** Must somebody allow each call? */
  readonly needsPermission: boolean;
}

/** What the policy gives to sessions that were made over HTTP, whose clients can declare nothing themselves. */
export interface HttpSessions {
  readonly systemMessage?: { readonly mode: "append" | "replace"; readonly content: string };
  readonly tools: readonly WebhookTool[];
  readonly mcpServers: Readonly<Record<string, HttpMcpServer>>;
}

const kibibyte = 1024;
const maxSchemaBytes = 64 * kibibyte;
const maxTools = 64;
const maxServers = 16;
const maxMessage = 1_000_000;

const isLoopback = (hostname: string): boolean =>
  hostname === "localhost" || hostname === "[::1]" || /^127(\.\d+){3}$/.test(hostname);

const isEndpoint = (value: string): boolean => {
  const url = URL.parse(value);
  if (url === null || url.username !== "" || url.password !== "" || url.hash !== "") return false;
  return url.protocol === "https:" || (url.protocol === "http:" && isLoopback(url.hostname));
};
const endpointForm = "an https URL (http on loopback only) without credentials in it";
const endpoint = text(endpointForm).refine(isEndpoint, { error: `expected ${endpointForm}` });

const headerValue = secret("a header's value, visible ASCII", /^[\t -~]{1,8192}$/);
/** Those that the node sets itself are not for the operator. */
const headersOf = (reserved: string) =>
  map(
    headerValue,
    `HTTP headers, a text each, none of ${reserved.replaceAll("|", ", ")}`,
    new RegExp(`^(?!(?:${reserved})$)[!#$%&'*+.^_\`|~0-9A-Za-z-]+$`, "i"),
  ).default({});
const ofConnections = "host|connection|keep-alive|transfer-encoding|te|trailer|upgrade|expect";
const ofWebhooks = `${ofConnections}|content-type|content-length|content-encoding|accept-encoding|webhook-id|webhook-timestamp|webhook-signature`;

const keyForm = "whsec_ and the base64 of 24 to 64 bytes (echo whsec_$(openssl rand -base64 32))";
const isKey = (value: string): boolean => {
  const [, encoded = ""] = /^whsec_([A-Za-z0-9+/]+={0,2})$/.exec(value) ?? [];
  const bytes = Buffer.from(encoded, "base64").length;
  return bytes >= 24 && bytes <= 64;
};
const signingKey = text(keyForm)
  .refine(isKey, { error: `expected ${keyForm}` })
  .pipe(secret(keyForm));

const schemaForm = `a JSON schema of type: object, at most ${formatSize(maxSchemaBytes)}`;
const isArgumentsSchema = (value: unknown): value is JsonObject => {
  if (!isObject(value) || value.type !== "object") return false;
  const { properties = {}, required = [] } = value;
  return (
    isObject(properties) &&
    Array.isArray(required) &&
    required.every((name) => typeof name === "string") &&
    JSON.stringify(value).length <= maxSchemaBytes
  );
};

const toolName = /^[A-Za-z0-9_-]{1,64}$/;
const toolNameForm = "a tool's name: 1 to 64 letters, digits, _ and -";

const webhookTool = group({
  name: text(toolNameForm, toolName),
  description: text("what the tool does, 1 to 4000 characters", /^.{1,4000}$/s),
  parameters: z
    .custom<JsonObject>(isArgumentsSchema, { error: `expected ${schemaForm}` })
    .default({ type: "object", properties: {} }),
  needsPermission: yesOrNo().default(true),
  webhook: group({
    url: endpoint,
    secret: signingKey,
    timeout: duration(100, 600_000).default(30_000),
    headers: headersOf(ofWebhooks),
  }),
});

const webhookTools = list(webhookTool, "a list of tools", maxTools).superRefine((tools, context) => {
  const first = new Map<string, number>();
  for (const [at, { name }] of tools.entries()) {
    const before = first.get(name);
    if (before === undefined) first.set(name, at);
    else {
      context.addIssue({
        code: "custom",
        path: [at, "name"],
        message: `is the same as tools[${before}].name; every tool needs a name of its own`,
      });
    }
  }
});

const mcpServer = group({
  url: endpoint,
  headers: headersOf(ofConnections),
  tools: list(text("a tool's name, or *"), "a list of tool names", 1_000).default(["*"]),
  needsPermission: yesOrNo().default(true),
});

const mcpServers = map(
  mcpServer,
  `at most ${maxServers} MCP servers by name: 1 to 64 letters, digits, _ and -`,
  toolName,
).refine((servers) => Object.keys(servers).length <= maxServers, {
  error: `expected at most ${maxServers} MCP servers`,
});

const systemMessage = z.preprocess(
  (written) => (typeof written === "string" ? { mode: "append", content: written } : written),
  group(
    {
      mode: choice("append", "replace").default("append"),
      content: text(`a text of 1 to ${maxMessage} characters`, /./s).max(maxMessage, {
        error: `expected a text of 1 to ${maxMessage} characters`,
      }),
    },
    "a text, or a section with mode, content",
  ),
);

/** As the file writes it. */
export const httpSessionsSchema = section({
  systemMessage: systemMessage.exactOptional(),
  tools: webhookTools.default([]),
  mcpServers: mcpServers.default({}),
});

type FileHttpSessions = z.output<typeof httpSessionsSchema>;

export const toHttpSessions = ({ tools, ...rest }: FileHttpSessions): HttpSessions => ({
  ...rest,
  tools: tools.map(({ webhook: { timeout, ...webhook }, ...tool }) => ({
    ...tool,
    webhook: { ...webhook, timeoutMs: timeout },
  })),
});

export const describeHttpSessions = ({ tools, ...rest }: HttpSessions): Record<string, unknown> => ({
  ...rest,
  tools: tools.map(({ webhook: { timeoutMs, ...webhook }, ...tool }) => ({
    ...tool,
    webhook: { ...webhook, timeout: formatDuration(timeoutMs) },
  })),
});
