import http from "node:http";
import type { AddressInfo } from "node:net";
import { promisify } from "node:util";
import type { WebhookTool } from "../../src/config/http-sessions.ts";
import { isObject } from "../../src/kernel/json.ts";
import { Secret } from "../../src/kernel/secret.ts";

export const hookSecret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/** A request that the server got. */
export interface Asked {
  readonly path: string;
  readonly headers: http.IncomingHttpHeaders;
  readonly body: string;
  /** Did whoever asked go away before it had the answer? */
  cut: boolean;
}

export type Answering = (asked: Asked, response: http.ServerResponse) => void;

export interface ToolServer extends AsyncDisposable {
  readonly url: string;
  readonly asked: Asked[];
}

/** An operator's web service on loopback: each path answers in its way. */
export const startToolServer = async (paths: Readonly<Record<string, Answering>>): Promise<ToolServer> => {
  const asked: Asked[] = [];
  const server = http.createServer(async (request, response) => {
    let body = "";
    for await (const part of request.setEncoding("utf8")) body += part;
    const path = request.url ?? "";
    const one: Asked = { path, headers: request.headers, body, cut: false };
    asked.push(one);
    response.on("close", () => {
      one.cut = !response.writableFinished;
    });
    const answer = Object.hasOwn(paths, path) ? paths[path] : undefined;
    if (answer === undefined) response.writeHead(404).end();
    else answer(one, response);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    asked,
    [Symbol.asyncDispose]: async () => {
      const closed = promisify(server.close.bind(server))();
      server.closeAllConnections();
      await closed;
    },
  };
};

export const webhookTool = (
  name: string,
  url: string,
  given: {
    readonly needsPermission?: boolean;
    readonly timeoutMs?: number;
    readonly headers?: Record<string, Secret>;
  } = {},
): WebhookTool => ({
  name,
  description: `What ${name} does`,
  parameters: { type: "object", properties: { order: { type: "string" } } },
  needsPermission: given.needsPermission ?? false,
  webhook: {
    url,
    secret: new Secret(hookSecret),
    timeoutMs: given.timeoutMs ?? 20_000,
    headers: given.headers ?? {},
  },
});

/** The least of an MCP server over HTTP: one tool, `find`, that says what it was called with. */
export const answerMcp: Answering = ({ body }, response) => {
  const message: unknown = body === "" ? undefined : JSON.parse(body);
  if (!isObject(message)) return void response.writeHead(405).end();
  if (message.id === undefined) return void response.writeHead(202).end();
  const params = isObject(message.params) ? message.params : {};
  const results: Readonly<Record<string, () => unknown>> = {
    initialize: () => ({
      protocolVersion: params.protocolVersion,
      capabilities: { tools: {} },
      serverInfo: { name: "test", version: "1" },
    }),
    "tools/list": () => ({
      tools: [
        {
          name: "find",
          description: "finds",
          inputSchema: { type: "object", properties: { query: { type: "string" } } },
        },
      ],
    }),
    "tools/call": () => ({ content: [{ type: "text", text: `found ${JSON.stringify(params.arguments)}` }] }),
  };
  const result = results[String(message.method)];
  response.writeHead(200, { "content-type": "application/json" }).end(
    JSON.stringify({
      jsonrpc: "2.0",
      id: message.id,
      ...(result === undefined ? { error: { code: -32601, message: "no" } } : { result: result() }),
    }),
  );
};
