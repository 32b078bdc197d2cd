import type { HttpSessions, WebhookTool } from "../config/http-sessions.ts";
import { SquadronError } from "../kernel/errors.ts";
import { isObject, type Json, type JsonObject } from "../kernel/json.ts";
import type { SessionRow } from "../store/store.ts";
import type { Log } from "../telemetry/log.ts";
import type { Metrics } from "../telemetry/metrics.ts";
import type { Webhooks } from "../webhooks/webhooks.ts";

/** Whose turn calls a tool. */
export interface Asking {
  readonly turnId: string | null;
  readonly user: string | null;
}

/** The runtime's requests in one session that are the policy's to answer, and no client's. */
export interface PolicyCalls {
  /** Calls of tools that are being answered. */
  readonly size: number;
  /** Is this request event the policy's? */
  concerns(type: string, data: unknown): boolean;
  /** Answers a request that is the policy's. */
  answer(type: string, data: unknown): void;
  /** Is it the policy's alone to answer this open request? */
  owns(requestId: unknown): boolean;
  /** The runtime waits for that answer no more. */
  closed(data: unknown): void;
  /** For no answer. */
  clear(): void;
}

/** Calls of one session's tools at once; a model that wants more is told so. */
const maxOpen = 32;

/** A plain `error` is nothing that the runtime would tell the model. */
const failure = (problem: string): JsonObject => ({
  result: { textResultForLlm: problem, resultType: "failure", error: problem },
});

type Request =
  | { readonly kind: "tool"; readonly requestId: string; readonly tool: WebhookTool; readonly args: Json }
  | { readonly kind: "permission"; readonly requestId: string; readonly allowed: boolean };

export const createPolicyCalls = (options: {
  /** What the session has of its policy; undefined: nothing. */
  readonly given: () => HttpSessions | undefined;
  readonly row: SessionRow;
  readonly webhooks: Webhooks;
  readonly asking: () => Asking;
  readonly call: (method: string, params: JsonObject) => Promise<unknown>;
  readonly onIdle: () => void;
  readonly metrics: Metrics;
  readonly log: Log;
}): PolicyCalls => {
  const { given, row, webhooks, metrics, log } = options;
  const open = new Map<string, AbortController>();

  const requestIn = (type: string, data: unknown): Request | undefined => {
    const policy = given();
    if (policy === undefined || !isObject(data) || typeof data.requestId !== "string") return undefined;
    const { requestId } = data;
    if (type === "external_tool.requested") {
      const tool = policy.tools.find(({ name }) => name === data.toolName);
      return tool && { kind: "tool", requestId, tool, args: (data.arguments ?? {}) as Json };
    }
    if (type === "permission.requested" && isObject(data.permissionRequest) && data.resolvedByHook !== true) {
      const { kind, serverName } = data.permissionRequest;
      const server =
        kind === "mcp" && typeof serverName === "string" && Object.hasOwn(policy.mcpServers, serverName)
          ? policy.mcpServers[serverName]
          : undefined;
      const allowed = server?.needsPermission === false;
      // Nobody can find a one-shot session, to be asked anything.
      return allowed || row.ephemeral ? { kind: "permission", requestId, allowed } : undefined;
    }
    return undefined;
  };

  const tell = (method: string, params: JsonObject): void => {
    options
      .call(method, params)
      .catch((error) =>
        log.warn({ session: row.id, method, error }, "an answer of the policy was not taken"),
      );
  };

  const run = async (
    { requestId, tool, args }: Extract<Request, { kind: "tool" }>,
    signal: AbortSignal,
  ): Promise<JsonObject> => {
    const answer = await webhooks.ask({
      webhook: tool.webhook,
      id: requestId,
      content: {
        tool: tool.name,
        arguments: args,
        session: row.publicId,
        ...options.asking(),
        tenant: row.tenant,
        requestId,
      },
      signal,
      about: { session: row.id, tool: tool.name, request: requestId },
    });
    metrics.callback("text" in answer ? "answered" : "failed");
    return { requestId, ...("text" in answer ? { result: answer.text } : failure(answer.problem)) };
  };

  const ask = async (request: Extract<Request, { kind: "tool" }>): Promise<void> => {
    const { requestId } = request;
    const ending = new AbortController();
    open.set(requestId, ending);
    try {
      const answer = await run(request, ending.signal);
      if (open.get(requestId) === ending) tell("session.tools.handlePendingToolCall", answer);
    } catch (error) {
      if (!(error instanceof SquadronError && error.code === "cancelled")) throw error;
    } finally {
      if (open.get(requestId) === ending) open.delete(requestId);
      options.onIdle();
    }
  };

  return {
    get size() {
      return open.size;
    },
    concerns: (type, data) => requestIn(type, data) !== undefined,
    answer(type, data) {
      const request = requestIn(type, data);
      if (request === undefined || open.has(request.requestId)) return;
      const { requestId } = request;
      if (request.kind === "permission")
        return tell("session.permissions.handlePendingPermissionRequest", {
          requestId,
          result: { kind: request.allowed ? "approve-once" : "user-not-available" },
        });
      if (open.size >= maxOpen)
        return tell("session.tools.handlePendingToolCall", {
          requestId,
          ...failure(`More than ${maxOpen} calls of tools at once; call it again later.`),
        });
      ask(request).catch((error) =>
        log.error({ session: row.id, request: requestId, error }, "a call of a tool was not handled"),
      );
    },
    owns: (requestId) => typeof requestId === "string" && open.has(requestId),
    closed(data) {
      if (!isObject(data) || typeof data.requestId !== "string") return;
      open.get(data.requestId)?.abort();
      open.delete(data.requestId);
    },
    clear() {
      for (const ending of open.values()) ending.abort();
      open.clear();
    },
  };
};
