import type { Envelope } from "./envelope.ts";

/** JSON that is already serialised and is put into a frame as it stands. */
export class RawJson {
  readonly bytes: Buffer;
  constructor(bytes: Buffer) {
    this.bytes = bytes;
  }
}

/** What the owner of a connection does with what the other side sends. */
export interface PeerHandler {
  /** Answers a request: a value or `RawJson`; a rejection becomes an error response (see `errorResponse`). */
  request(frame: Envelope): Promise<unknown>;
  /** Called in the order of arrival, synchronously. */
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
  notify(method: string, params: unknown): void;
  /** Sends a whole body that is already serialised. */
  sendRaw(body: Buffer): void;
  /** Bytes accepted for sending and not yet taken by the other side. */
  readonly queuedBytes: number;
  /** Closes the stream; with an error, as a last frame if one can be sent. */
  close(reason?: Error): void;
  /** Resolves once, with the reason, when the connection has ended. Never rejects. */
  readonly closed: Promise<Error | undefined>;
}
