import type { Readable, Writable } from "node:stream";
import type { Clock } from "../kernel/clock.ts";
import { SquadronError, toSquadronError } from "../kernel/errors.ts";
import { type Envelope, readEnvelope } from "./envelope.ts";
import {
  errorMessage,
  type MessageParts,
  notificationMessage,
  requestMessage,
  resultMessage,
} from "./message.ts";
import { createPendingRequests } from "./pending-requests.ts";
import { errorResponse, RpcError } from "./rpc-error.ts";
import { createSplitter } from "./splitter.ts";
import { frameOf } from "./writer.ts";

export { RawJson } from "./raw-json.ts";

/** What the owner of a connection does with what the other side sends. */
export interface PeerHandler {
  /** Answers a request: a value or `RawJson`; a rejection becomes an error response (see `errorResponse`). */
  request(frame: Envelope): Promise<unknown>;
  /** Called in the order of arrival, synchronously. What it throws ends the connection. */
  notification(frame: Envelope): void;
}

export interface RequestOptions {
  /** Milliseconds until the request rejects with `timeout`. */
  readonly timeoutMs?: number;
  readonly signal?: AbortSignal;
}

/** One side of a JSON-RPC connection over a byte stream. */
export interface Peer {
  /** Resolves with the response's frame; rejects with `RpcError` for an error response, with `connection_closed`, `timeout` or `cancelled`. */
  request(method: string, params: unknown, options?: RequestOptions): Promise<Envelope>;
  /** Sends nothing once the connection is closed. */
  notify(method: string, params: unknown): void;
  /** Sends a whole body that is already serialised; nothing once the connection is closed. */
  sendRaw(body: Buffer): void;
  /** Can anything be sent? A process that is dying closes its pipe before it has ended. */
  readonly open: boolean;
  /** Bytes accepted for sending and not yet taken by the other side. */
  readonly queuedBytes: number;
  /** Closes the stream; with an error, as a last frame if one can be sent. */
  close(reason?: Error): void;
  /** Closes it as soon as every request that has come is answered. */
  finish(): void;
  /** Resolves once, with the reason, when the connection has ended. Never rejects. */
  readonly closed: Promise<Error | undefined>;
}

export interface PeerLimits {
  /** Largest body taken, asked at each frame; default 64 MiB. */
  readonly maxFrameBytes?: () => number;
  /** Bytes that may wait to be sent (one more frame is let through); default 32 MiB. Beyond it: closed with `slow_consumer`. */
  readonly maxQueuedBytes?: number;
  /** Inbound requests in handling; default 1000. At it nothing more is read, answers to our own requests included. */
  readonly maxConcurrentRequests?: number;
}

export interface PeerOptions {
  readonly input: Readable;
  /** May be the same object as `input`. */
  readonly output: Writable;
  readonly handler: PeerHandler;
  readonly clock: Clock;
  readonly limits?: PeerLimits;
  /** Answer an incomplete frame with an ignorable notification: its ACK ends the other side's wait for one (Nagle). */
  readonly acknowledgePartial?: boolean;
  /** Told of what the other side did wrong, before the connection is closed for it. */
  readonly onProtocolError?: (error: SquadronError) => void;
  /** Told of what a request's handling threw that is no answer; the other side sees only `internal`. */
  readonly onHandlerFailure?: (error: unknown, frame: Envelope) => void;
  /** Told of responses that nobody waits for: of unknown or timed-out requests, and errors without an id. */
  readonly onUnexpectedResponse?: (frame: Envelope) => void;
}

/** How long a full outgoing queue may hold up reading: two sides that both wait for the other to read would wait for ever. */
const longestDrainPauseMs = 50;
/** How long a closed connection is kept to get its last bytes out, and to let the other side see them. */
const lingerMs = 1_000;

const acknowledgement = frameOf('{"jsonrpc":"2.0","method":"$/squadron/ack"}');

/**
 * open: everything. mute: the other side takes no more bytes, but what it has sent is still read.
 * closing: last bytes go out, what comes is discarded.
 */
type State = "open" | "mute" | "closing" | "closed";

/** Speaks JSON-RPC over the two streams and owns them: they are destroyed when the connection has ended. */
export const createPeer = (options: PeerOptions): Peer => {
  const { input, output, handler, clock, limits = {} } = options;
  const { maxQueuedBytes = 32 * 1024 * 1024, maxConcurrentRequests = 1_000 } = limits;
  const splitter = createSplitter(
    limits.maxFrameBytes === undefined ? {} : { maxFrameBytes: limits.maxFrameBytes },
  );
  const pending = createPendingRequests(clock);
  const { promise: closed, resolve: resolveClosed } = Promise.withResolvers<Error | undefined>();

  let state: State = "open";
  let reason: Error | undefined;
  let requestsInHandling = 0;
  let acknowledged = false;
  let finishing = false;
  let gathering = false;
  let endDrainPause: (() => void) | undefined;
  let cancelLinger: (() => void) | undefined;

  const send = (body: MessageParts): void => {
    if (state === "open") write(frameOf(...body));
  };

  const write = (frame: Buffer): void => {
    if (output.writableLength > maxQueuedBytes) {
      const text = `The other side left more than ${maxQueuedBytes} bytes unread.`;
      end(new SquadronError("slow_consumer", text, { details: { limit: maxQueuedBytes } }));
      return;
    }
    gather();
    if (!output.write(frame)) pauseForDrain();
  };

  /** What is written in one go leaves in one system call, not one for each frame; nothing waits longer for it. */
  const gather = (): void => {
    if (gathering) return;
    gathering = true;
    output.cork();
    process.nextTick(() => {
      gathering = false;
      output.uncork();
    });
  };

  const pauseForDrain = (): void => {
    if (endDrainPause !== undefined) return;
    const cancelTimer = clock.after(longestDrainPauseMs, () => endDrainPause?.());
    endDrainPause = () => {
      cancelTimer();
      endDrainPause = undefined;
      pump();
    };
  };

  const mayRead = (): boolean =>
    (state === "open" || state === "mute") &&
    endDrainPause === undefined &&
    requestsInHandling < maxConcurrentRequests;

  /** Handles what has been read, and reads more, until there is nothing or reading has to wait. */
  const pump = (): void => {
    try {
      while (mayRead()) {
        const body = splitter.next();
        if (body !== undefined) {
          acknowledged = false;
          receive(readEnvelope(body));
          continue;
        }
        const chunk: Buffer | null = input.read();
        if (chunk === null) break;
        splitter.push(chunk);
      }
      if (options.acknowledgePartial && !acknowledged && mayRead() && splitter.partial) {
        acknowledged = true;
        if (state === "open") write(acknowledgement);
      }
    } catch (error) {
      refuse(error);
    }
  };

  const refuse = (error: unknown): void => {
    const known = toSquadronError(error);
    options.onProtocolError?.(known);
    close(known);
  };

  const receive = (frame: Envelope): void => {
    if (frame.kind === "request") void answer(frame);
    else if (frame.kind === "notification") {
      if (!frame.method?.startsWith("$/")) handler.notification(frame);
    } else if (!pending.settle(frame)) options.onUnexpectedResponse?.(frame);
  };

  const answer = async (frame: Envelope): Promise<void> => {
    const id = frame.id ?? null;
    requestsInHandling++;
    let response: MessageParts;
    try {
      response = resultMessage(id, await handler.request(frame));
    } catch (error) {
      if (!(error instanceof SquadronError || error instanceof RpcError))
        options.onHandlerFailure?.(error, frame);
      response = errorMessage(id, errorResponse(error));
    }
    send(response);
    if (requestsInHandling-- === maxConcurrentRequests) pump();
    if (finishing) finish();
  };

  const close = (why?: Error): void => {
    if (state === "closing" || state === "closed") return;
    const canSpeak = state === "open" && output.writable;
    stop("closing", why);
    // Unread input would make the kernel reset the connection, and the last frame could get lost.
    input.off("readable", pump);
    input.resume();
    if (canSpeak && why !== undefined) output.end(frameOf(...errorMessage(null, errorResponse(why))));
    else output.end();
    linger();
  };

  const finish = (): void => {
    finishing = true;
    pump();
    if (requestsInHandling === 0) close();
  };

  const linger = (): void => {
    cancelLinger ??= clock.after(lingerMs, () => end(reason));
  };

  /** Nothing more is handled from here on, and no request of ours will be answered. */
  const stop = (next: "closing" | "closed", why: Error | undefined): void => {
    state = next;
    reason ??= why;
    endDrainPause?.();
    pending.rejectAll(reason);
  };

  const end = (why?: Error): void => {
    if (state === "closed") return;
    stop("closed", why);
    cancelLinger?.();
    input.destroy();
    output.destroy();
    resolveClosed(reason);
  };

  const broken = (cause: unknown): SquadronError =>
    new SquadronError("connection_closed", "The connection broke.", { cause });

  /** A process that dies closes its stdin first: what it had written to its stdout still counts. */
  const outputGone = (why?: Error): void => {
    if (state === "mute") return;
    if (state !== "open" || Object.is(input, output)) {
      end(why);
      return;
    }
    state = "mute";
    reason = why;
    pending.refuseNew();
    endDrainPause?.();
    linger();
  };

  const inputEnded = (): void => {
    const truncated = (state === "open" || state === "mute") && splitter.partial;
    const why = truncated
      ? new SquadronError("connection_closed", "The connection ended in the middle of a frame.")
      : undefined;
    if (state === "open") close(why);
    else if (output.writableFinished || state === "mute") end(why);
  };

  input.on("readable", pump);
  input.on("end", inputEnded);
  input.on("error", (error) => end(broken(error)));
  input.on("close", () => end());
  output.on("drain", () => endDrainPause?.());
  output.on("finish", () => {
    if (input.readableEnded) end();
  });
  output.on("error", (error) => outputGone(broken(error)));
  output.on("close", () => outputGone());

  return {
    request: (method, params, requestOptions = {}) =>
      pending.add(method, requestOptions, (id) => send(requestMessage(id, method, params))),
    notify: (method, params) => send(notificationMessage(method, params)),
    sendRaw: (body) => send([body]),
    get open() {
      return state === "open";
    },
    get queuedBytes() {
      return output.writableLength;
    },
    close,
    finish,
    closed,
  };
};
