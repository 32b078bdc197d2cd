import { randomUUID } from "node:crypto";
import { systemClock } from "../../../src/kernel/clock.ts";
import { Secret } from "../../../src/kernel/secret.ts";
import type { ModelGrant, ModelLog, ModelRoute, Usage } from "../../../src/models/grant.ts";
import { createModelGateway, type ModelGateway } from "../../../src/models/model-gateway.ts";
import type { Envelope } from "../../../src/wire/envelope.ts";
import type { Peer } from "../../../src/wire/peer.ts";
import { eventually } from "../../support/wait.ts";

const envelope = (result: unknown): Envelope => ({
  kind: "result",
  raw: Buffer.alloc(0),
  id: 1,
  method: undefined,
  sessionId: undefined,
  eventType: undefined,
  eventId: undefined,
  ephemeral: false,
  params: () => undefined,
  result: () => result,
  resultBytes: () => Buffer.from(JSON.stringify(result)),
  error: () => undefined,
  withSessionId: () => Buffer.alloc(0),
  eventBytes: () => undefined,
});

/** What a runtime got for one of its calls. */
export interface Got {
  status: number | undefined;
  headers: Record<string, string[]>;
  chunks: Buffer[];
  ended: boolean;
  error: { message: string; code: string } | undefined;
}

export const bodyOf = (got: Got): string => Buffer.concat(got.chunks).toString("utf8");

/** The runtime's side of the hook, as far as a gateway can tell. */
export const fakePipe = () => {
  const answers = new Map<string, Got>();
  const known = (id: string): Got => {
    const got = answers.get(id) ?? {
      status: undefined,
      headers: {},
      chunks: [],
      ended: false,
      error: undefined,
    };
    answers.set(id, got);
    return got;
  };
  const pipe = {
    accepted: true,
    /** Frames that were sent and not yet taken. */
    inFlight: 0,
    most: 0,
    /** While set, pieces of the body are taken only when it resolves. */
    hold: undefined as Promise<void> | undefined,
    known,
  };
  const peer: Peer = {
    open: true,
    queuedBytes: 0,
    closed: new Promise(() => undefined),
    close: () => undefined,
    finish: () => undefined,
    notify: () => undefined,
    sendRaw: () => undefined,
    request: async (method, params, options) => {
      options?.signal?.throwIfAborted();
      // biome-ignore lint/suspicious/noExplicitAny: a test double reads what it is given
      const frame = params as any;
      const got = known(frame.requestId);
      pipe.inFlight += 1;
      pipe.most = Math.max(pipe.most, pipe.inFlight);
      if (method === "llmInference.httpResponseChunk") await pipe.hold;
      pipe.inFlight -= 1;
      if (method === "llmInference.httpResponseStart") {
        got.status = frame.status;
        got.headers = frame.headers;
      } else {
        if (frame.data !== "") got.chunks.push(Buffer.from(frame.data, frame.binary ? "base64" : "utf8"));
        got.ended ||= frame.end;
        got.error = frame.error;
      }
      return envelope({ accepted: pipe.accepted });
    },
  };
  return { peer, pipe };
};

export interface LogLine {
  readonly level: string;
  readonly fields: Record<string, unknown>;
  readonly message: string;
}

export interface GatewayOptions {
  readonly routes?: ModelRoute[];
  readonly allowModels?: string[];
  readonly granted?: boolean;
  readonly caFiles?: string[];
  readonly retries?: number;
  readonly idleTimeoutMs?: number;
  readonly environment?: Record<string, string>;
  readonly maxBodyBytes?: number;
  readonly maxCallsPerRuntime?: number;
}

/** A gateway with one runtime, for tests. */
export const startGateway = (options: GatewayOptions = {}) => {
  const { peer, pipe } = fakePipe();
  const usage: { sessionId: string; usage: Usage }[] = [];
  const lines: LogLine[] = [];
  const write = (level: string) => (fields: Record<string, unknown>, message: string) => {
    lines.push({ level, fields, message });
  };
  const log: ModelLog = { debug: write("debug"), info: write("info"), warn: write("warn") };
  const grant: ModelGrant = { allowModels: options.allowModels ?? ["*"], routes: options.routes ?? [] };
  const gateway: ModelGateway = createModelGateway({
    config: {
      connectTimeoutMs: 2_000,
      idleTimeoutMs: options.idleTimeoutMs ?? 5_000,
      retries: options.retries ?? 0,
      caFiles: options.caFiles ?? [],
    },
    clock: systemClock,
    log,
    grant: () => (options.granted === false ? undefined : grant),
    onUsage: (sessionId, seen) => usage.push({ sessionId, usage: seen }),
    environment: options.environment ?? {},
    ...(options.maxBodyBytes !== undefined && { maxBodyBytes: options.maxBodyBytes }),
    ...(options.maxCallsPerRuntime !== undefined && { maxCallsPerRuntime: options.maxCallsPerRuntime }),
  });
  const runtime = { id: "runtime-1", peer };

  const start = async (url: string, more: Record<string, unknown> = {}): Promise<string> => {
    const requestId = randomUUID();
    await gateway.httpRequestStart(runtime, {
      requestId,
      sessionId: "s1",
      method: "POST",
      url,
      headers: { "content-type": ["application/json"], authorization: ["Bearer dummy"] },
      transport: "http",
      ...more,
    });
    return requestId;
  };
  const send = (requestId: string, data: string, more: Record<string, unknown> = {}) =>
    gateway.httpRequestChunk(runtime, { requestId, data, binary: false, end: true, cancel: false, ...more });
  const finished = (requestId: string): Promise<Got> =>
    eventually(() => pipe.known(requestId).ended && pipe.known(requestId), { what: "the answer has ended" });
  const call = async (url: string, body: unknown = { model: "m1" }, more: Record<string, unknown> = {}) => {
    const requestId = await start(url, more);
    await send(requestId, typeof body === "string" ? body : JSON.stringify(body));
    return finished(requestId);
  };
  return { gateway, runtime, pipe, usage, lines, start, send, finished, call };
};

/** The same, closed with the test's other things. */
export const gatewayIn = (stack: AsyncDisposableStack, options: GatewayOptions) => {
  const started = startGateway(options);
  stack.defer(() => started.gateway.close());
  return started;
};

export const routeTo = (target: string, more: Partial<ModelRoute> = {}): ModelRoute => ({
  prefix: "http://models.squadron.internal/v1",
  target,
  headers: { authorization: new Secret("Bearer sk-real-key-123456") },
  ...more,
});

export const modelUrl = "http://models.squadron.internal/v1/chat/completions";
