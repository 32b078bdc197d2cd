import type { ModelsConfig } from "../config/config.ts";
import type { Clock } from "../kernel/clock.ts";
import { SquadronError } from "../kernel/errors.ts";
import type { Peer } from "../wire/peer.ts";
import { type Answer, createAnswer } from "./answer.ts";
import { isCancelled } from "./failure.ts";
import type { ModelGrant, ModelLog, Usage } from "./grant.ts";
import { type CallContext, runHttpCall } from "./http-call.ts";
import {
  chunkBytes,
  parseRequestChunk,
  parseRequestStart,
  type RequestChunk,
  type RequestStart,
} from "./protocol.ts";
import { resolveRoute } from "./route.ts";
import { errorBody } from "./scrub.ts";
import { openSocketCall, type SocketCall } from "./socket-call.ts";
import { createUpstream } from "./upstream.ts";

/** Largest request body, and most that waits in either direction of a websocket. */
const defaultMaxBodyBytes = 64 * 1024 * 1024;
const defaultMaxCallsPerRuntime = 256;
/** How long chunks wait for the head of their call: the pipe keeps no order. */
const headDeadlineMs = 10_000;

/** A runtime as this room needs it: a name and its pipe. */
export interface ModelCaller {
  readonly id: string;
  readonly peer: Peer;
}

/** Answers the model calls of all runtimes in their place. */
export interface ModelGateway {
  /** `llmInference.httpRequestStart`. Rejects with `invalid_request`; all else is told in the answer to the call. */
  httpRequestStart(runtime: ModelCaller, params: unknown): Promise<unknown>;
  /** `llmInference.httpRequestChunk`. Rejects with `invalid_request`. */
  httpRequestChunk(runtime: ModelCaller, params: unknown): Promise<unknown>;
  /** The runtime is gone: its calls are aborted. */
  runtimeClosed(runtimeId: string): void;
  /** Aborts all calls and closes all connections. */
  close(): Promise<void>;
}

/** One model call's life. */
type Call =
  /** Chunks came before the head. */
  | { readonly kind: "headless"; readonly chunks: RequestChunk[]; bytes: number; readonly forget: () => void }
  | {
      readonly kind: "collecting";
      readonly context: CallContext;
      readonly abort: AbortController;
      readonly parts: Buffer[];
      bytes: number;
    }
  | { readonly kind: "calling"; readonly abort: AbortController }
  | { readonly kind: "socket"; readonly abort: AbortController; readonly socket: SocketCall }
  /** Answered without asking anybody; the rest of its body is dropped. */
  | { readonly kind: "refused"; readonly abort: AbortController };

type Refusal = (answer: Answer) => Promise<void>;
const failing =
  (code: string, message: string): Refusal =>
  (answer) =>
    answer.fail(code, message);
const refusing =
  (status: number, code: string, message: string, type?: string): Refusal =>
  (answer) =>
    answer.json(status, errorBody(code, message, type), status === 429 ? { "retry-after": ["1"] } : {});

/** Throws `config_invalid` when a certificate file cannot be read. */
export const createModelGateway = (options: {
  config: ModelsConfig;
  clock: Clock;
  log: ModelLog;
  /** What the session (as the runtime names it) may do; `undefined` denies. */
  grant: (sessionId: string | undefined, runtimeId: string) => ModelGrant | undefined;
  onUsage?: (sessionId: string, usage: Usage) => void;
  /** Where HTTP_PROXY, HTTPS_PROXY and NO_PROXY are read from. */
  environment?: NodeJS.ProcessEnv;
  maxBodyBytes?: number;
  maxCallsPerRuntime?: number;
}): ModelGateway => {
  const { config, clock, log, grant, onUsage } = options;
  const maxBodyBytes = options.maxBodyBytes ?? defaultMaxBodyBytes;
  const maxCalls = options.maxCallsPerRuntime ?? defaultMaxCallsPerRuntime;
  const upstream = createUpstream({ config, clock, environment: options.environment ?? process.env });
  const runtimes = new Map<string, Map<string, Call>>();
  const running = new Set<Promise<void>>();
  let closing = false;

  const callsOf = (runtimeId: string): Map<string, Call> => {
    const calls = runtimes.get(runtimeId) ?? new Map<string, Call>();
    runtimes.set(runtimeId, calls);
    return calls;
  };

  const remove = (runtimeId: string, requestId: string, call: Call) => {
    const calls = runtimes.get(runtimeId);
    if (calls?.get(requestId) !== call) return;
    calls.delete(requestId);
    if (calls.size === 0) runtimes.delete(runtimeId);
  };

  const stop = (call: Call) => (call.kind === "headless" ? call.forget() : call.abort.abort());

  /** Keeps hold of work in the background; what it rejects with is a pipe that has gone or a fault of ours. */
  const track = (work: Promise<void>, signal: AbortSignal) => {
    const settled = work
      .catch((error: unknown) => {
        if (!isCancelled(error, signal)) log.warn({ error }, "A model call could not be answered.");
      })
      .finally(() => running.delete(settled));
    running.add(settled);
  };

  const refuse = (answer: Answer, abort: AbortController, refusal: Refusal): Call => {
    track(refusal(answer), abort.signal);
    return { kind: "refused", abort };
  };

  const admit = (runtime: ModelCaller, start: RequestStart): Call | undefined => {
    const abort = new AbortController();
    const { signal } = abort;
    const { sessionId } = start;
    const answer = createAnswer({
      peer: runtime.peer,
      requestId: start.requestId,
      timeoutMs: config.idleTimeoutMs,
      signal,
    });
    if (closing) return refuse(answer, abort, failing("draining", "The server is stopping."));
    if (callsOf(runtime.id).size >= maxCalls) {
      log.warn({ runtime: runtime.id, limit: maxCalls }, "A runtime makes too many model calls at once.");
      // Not kept: a runtime over its limit must not fill our memory with refusals.
      refuse(
        answer,
        abort,
        refusing(429, "rate_limited", "Too many model calls at once.", "rate_limit_error"),
      );
      return undefined;
    }
    const granted = grant(sessionId, runtime.id);
    const resolved = granted && resolveRoute(granted.routes, start);
    if (granted === undefined || resolved === undefined) {
      const host = URL.parse(start.url)?.host;
      log.warn(
        { session: sessionId, runtime: runtime.id, host, granted: granted !== undefined },
        "A model call was denied.",
      );
      return refuse(answer, abort, failing("model_denied", "This session may not call this model provider."));
    }
    const spent = granted.spent?.();
    // Of all statuses that say so this is the one that a runtime does not try again.
    if (spent !== undefined)
      return refuse(answer, abort, refusing(402, "quota_exceeded", spent, "insufficient_quota"));
    const context: CallContext = {
      start,
      grant: granted,
      resolved,
      answer,
      signal,
      upstream,
      log: granted.log ?? log,
      onUsage: (usage) => sessionId !== undefined && onUsage?.(sessionId, usage),
    };
    if (start.transport === "http") return { kind: "collecting", context, abort, parts: [], bytes: 0 };
    const socket = openSocketCall(context, {
      clock,
      idleTimeoutMs: config.idleTimeoutMs,
      maxBytes: maxBodyBytes,
    });
    const call: Call = { kind: "socket", abort, socket };
    track(
      socket.done.finally(() => remove(runtime.id, start.requestId, call)),
      signal,
    );
    return call;
  };

  /** What the call becomes with this chunk; `undefined` when nothing is left of it. */
  const next = (runtime: ModelCaller, call: Call, chunk: RequestChunk): Call | undefined => {
    if (chunk.cancel) {
      stop(call);
      return undefined;
    }
    switch (call.kind) {
      case "headless":
        call.bytes += chunk.data.length;
        if (call.bytes > maxBodyBytes)
          throw new SquadronError("too_large", "A model call without a head is too large.");
        call.chunks.push(chunk);
        return call;
      case "collecting": {
        const bytes = chunkBytes(chunk);
        const { context, abort, parts } = call;
        call.bytes += bytes.length;
        if (call.bytes > maxBodyBytes) {
          const text = `The model request is larger than ${maxBodyBytes} bytes.`;
          const refused = refuse(context.answer, abort, refusing(413, "request_too_large", text));
          return chunk.end ? undefined : refused;
        }
        parts.push(bytes);
        if (!chunk.end) return call;
        const calling: Call = { kind: "calling", abort };
        const work = runHttpCall(context, Buffer.concat(parts));
        track(
          work.finally(() => remove(runtime.id, chunk.requestId, calling)),
          abort.signal,
        );
        return calling;
      }
      case "socket":
        if (chunk.data !== "") call.socket.send(chunkBytes(chunk), chunk.binary);
        if (chunk.end) call.socket.finish();
        return call;
      case "calling":
        return call;
      case "refused":
        return chunk.end ? undefined : call;
    }
  };

  const put = (runtime: ModelCaller, requestId: string, call: Call | undefined, before?: Call) => {
    if (call !== undefined) callsOf(runtime.id).set(requestId, call);
    else if (before !== undefined) remove(runtime.id, requestId, before);
  };

  const take = (runtime: ModelCaller, call: Call, chunk: RequestChunk) =>
    put(runtime, chunk.requestId, next(runtime, call, chunk), call);

  const headless = (runtime: ModelCaller, requestId: string): Call => {
    const call: Call = {
      kind: "headless",
      chunks: [],
      bytes: 0,
      forget: clock.after(headDeadlineMs, () => remove(runtime.id, requestId, call)),
    };
    return call;
  };

  return {
    httpRequestStart: async (runtime, params) => {
      const start = parseRequestStart(params);
      const early = runtimes.get(runtime.id)?.get(start.requestId);
      if (early !== undefined && early.kind !== "headless") {
        throw new SquadronError("invalid_request", "A model call with this request id is under way.");
      }
      if (early !== undefined) {
        early.forget();
        remove(runtime.id, start.requestId, early);
      }
      put(runtime, start.requestId, admit(runtime, start));
      for (const chunk of early?.chunks ?? []) {
        const call = runtimes.get(runtime.id)?.get(start.requestId);
        if (call !== undefined) take(runtime, call, chunk);
      }
      return {};
    },
    httpRequestChunk: async (runtime, params) => {
      const chunk = parseRequestChunk(params);
      const known = runtimes.get(runtime.id)?.get(chunk.requestId);
      if (known !== undefined) take(runtime, known, chunk);
      else if (!chunk.cancel && callsOf(runtime.id).size < maxCalls) {
        take(runtime, headless(runtime, chunk.requestId), chunk);
      }
      return {};
    },
    runtimeClosed: (runtimeId) => {
      const calls = [...(runtimes.get(runtimeId)?.values() ?? [])];
      runtimes.delete(runtimeId);
      calls.forEach(stop);
    },
    close: async () => {
      closing = true;
      for (const runtimeId of [...runtimes.keys()]) {
        const calls = [...(runtimes.get(runtimeId)?.values() ?? [])];
        runtimes.delete(runtimeId);
        calls.forEach(stop);
      }
      await Promise.all(running);
      await upstream.close();
    },
  };
};
