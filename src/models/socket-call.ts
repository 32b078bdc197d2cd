import { WebSocket } from "undici";
import type { Clock } from "../kernel/clock.ts";
import { modelAllowed, modelOf } from "./allow.ts";
import { isCancelled } from "./failure.ts";
import type { CallContext } from "./http-call.ts";
import { upstreamHeaders } from "./route.ts";
import { errorBody, redacted, scrubbedError } from "./scrub.ts";
import { scrubbedText } from "./stream-scrub.ts";
import { createUsageMeter } from "./usage.ts";

/** A model call that is a websocket: messages in both directions until one side closes. */
export interface SocketCall {
  /** A message of the runtime. */
  send(message: Buffer, binary: boolean): void;
  /** The runtime has no more messages. */
  finish(): void;
  /** Resolves when the call is over. Never rejects. */
  readonly done: Promise<void>;
}

type State =
  | { readonly kind: "connecting"; readonly waiting: { message: Buffer; binary: boolean }[]; bytes: number }
  | { readonly kind: "open" }
  | { readonly kind: "over" };

const normalClosures = new Set([1000, 1001, 1005]);
const answersEnd = /"type"\s*:\s*"(response\.(completed|failed|incomplete)|error)"/;
const typeHead = 400;
const isError = /^\s*\{\s*"type"\s*:\s*"error"/;
const failed = /"type"\s*:\s*"response\.failed"/;

const joined = (headers: Record<string, string | string[]>): Record<string, string> =>
  Object.fromEntries(Object.entries(headers).map(([name, value]) => [name, [value].flat().join(", ")]));

/**
 * Opens the socket at the provider. If it cannot be opened the runtime is told so with a status, upon which it
 * makes the same call over plain HTTP. `maxBytes` bounds what waits in either direction.
 */
export const openSocketCall = (
  context: CallContext,
  options: { clock: Clock; idleTimeoutMs: number; maxBytes: number },
): SocketCall => {
  const { grant, resolved, answer, signal, log, onUsage } = context;
  const { clock, idleTimeoutMs, maxBytes } = options;
  const { sessionId } = context.start;
  const { promise: done, resolve: settle } = Promise.withResolvers<void>();
  const secrets = Object.values(resolved.route.headers).map((secret) => secret.reveal());
  let state: State = { kind: "connecting", waiting: [], bytes: 0 };
  let meter = createUsageMeter("", "application/json");
  let cancelIdle = () => {};
  let queuedBytes = 0;
  let order = Promise.resolve();

  const url = new URL(resolved.target);
  url.protocol = url.protocol.replace("http", "ws");
  const socket = new WebSocket(url, {
    dispatcher: context.upstream.dispatcher,
    headers: joined(upstreamHeaders(resolved.route, context.start.headers)),
  });
  socket.binaryType = "arraybuffer";

  /** Ends the call once: `last` tells the runtime how. */
  const finish = (last: () => Promise<void>) => {
    if (state.kind === "over") return;
    state = { kind: "over" };
    cancelIdle();
    signal.removeEventListener("abort", abort);
    socket.close();
    order = order
      .then(last)
      .catch((error: unknown) => {
        if (!isCancelled(error, signal))
          log.warn({ session: sessionId, error }, "A model call's end was not taken.");
      })
      .then(settle);
  };
  const fail = (code: string, message: string) => {
    log.warn({ session: sessionId, failure: code }, message);
    finish(() => answer.fail(code, message));
  };
  const abort = () => finish(async () => {});

  /** One message to the runtime, after those before it. */
  const deliver = (data: string | Uint8Array) => {
    queuedBytes += data.length;
    if (queuedBytes > maxBytes)
      return fail("too_large", "The model provider sent more than the runtime takes.");
    order = order
      .then(() => answer.write(data))
      .then(() => {
        queuedBytes -= data.length;
      })
      .catch((error: unknown) => {
        if (!isCancelled(error, signal))
          log.warn({ session: sessionId, error }, "A model's message was not taken.");
        abort();
      });
  };

  const watch = () => {
    cancelIdle();
    cancelIdle = clock.after(idleTimeoutMs, () =>
      fail("provider_silent", "The model provider was silent for too long."),
    );
  };

  const transmit = (message: Buffer, binary: boolean) => {
    const model = modelOf(message);
    if (model !== undefined) {
      if (!modelAllowed(grant.allowModels, model)) {
        const text = `The model "${model.slice(0, 200)}" is not allowed here. Choose one that GET /v1/models lists.`;
        log.info({ session: sessionId }, text);
        return deliver(JSON.stringify({ type: "error", status: 400, ...errorBody("model_denied", text) }));
      }
      const spent = grant.spent?.();
      if (spent !== undefined)
        return deliver(
          JSON.stringify({
            type: "error",
            status: 402,
            ...errorBody("quota_exceeded", spent, "insufficient_quota"),
          }),
        );
      meter = createUsageMeter(model, "application/json");
    }
    socket.send(binary ? message : message.toString("utf8"));
    if (socket.bufferedAmount > maxBytes) return fail("too_large", "The model provider takes too little.");
    watch();
  };

  const received = (text: string) => {
    const head = text.slice(0, typeHead);
    if (answersEnd.test(head)) cancelIdle();
    else watch();
    if (!isError.test(head)) {
      meter.message(text);
      const usage = meter.take();
      if (usage !== undefined) onUsage(usage);
      return deliver(failed.test(head) ? scrubbedText(text) : text);
    }
    log.warn(
      { session: sessionId, providerError: redacted(text, secrets) },
      "A model provider sent an error.",
    );
    const status = Number(/"status"\s*:\s*(\d{3})/.exec(text)?.[1] ?? 500);
    deliver(JSON.stringify({ type: "error", status, ...scrubbedError(status, text) }));
  };

  socket.addEventListener("open", () => {
    if (state.kind !== "connecting") return;
    const { waiting } = state;
    state = { kind: "open" };
    order = order.then(() => answer.start(101, {})).catch(abort);
    for (const { message, binary } of waiting) transmit(message, binary);
  });
  socket.addEventListener("message", ({ data }: { data: unknown }) => {
    if (state.kind !== "open") return;
    if (typeof data === "string") received(data);
    else if (data instanceof ArrayBuffer) deliver(new Uint8Array(data));
  });
  socket.addEventListener("error", () => {
    if (state.kind === "connecting") {
      const message = "The model provider did not open a websocket.";
      log.warn({ session: sessionId }, message);
      finish(() => answer.json(502, errorBody("websocket_refused", message, "server_error")));
    } else fail("provider_connection_lost", "The connection to the model provider was lost.");
  });
  socket.addEventListener("close", ({ code }: { code: number }) => {
    if (normalClosures.has(code)) finish(() => answer.end());
    else fail("provider_connection_lost", `The model provider closed the websocket (${code}).`);
  });
  signal.addEventListener("abort", abort, { once: true });
  if (signal.aborted) abort();

  return {
    done,
    send: (message, binary) => {
      if (state.kind === "open") transmit(message, binary);
      if (state.kind !== "connecting") return;
      state.bytes += message.length;
      if (state.bytes > maxBytes) return fail("too_large", "The model provider takes too little.");
      state.waiting.push({ message, binary });
    },
    finish: () => finish(() => answer.end()),
  };
};
