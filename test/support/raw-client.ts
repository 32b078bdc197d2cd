import { once } from "node:events";
import { connect, type Socket } from "node:net";
import { isObject } from "../../src/kernel/json.ts";
import { within } from "./wait.ts";

/** A message as it was received, with its text. */
export interface RawMessage {
  readonly text: string;
  readonly body: Record<string, unknown>;
}

/** The answer to a call: `text` is the body as it was received, without its id. */
export type RawAnswer =
  | { readonly kind: "result"; readonly text: string; readonly result: unknown }
  | {
      readonly kind: "error";
      readonly text: string;
      readonly error: Record<string, unknown>;
      readonly code: unknown;
    };

export interface RawClient extends AsyncDisposable {
  readonly socket: Socket;
  /** Every byte that has been received, as text. */
  received(): string;
  /** Every message that has been received, acknowledgements apart. */
  readonly messages: readonly RawMessage[];
  /** Events of a session that have been received. */
  events(type?: string): readonly Record<string, unknown>[];
  /** Calls and waits for the answer. */
  call(method: string, params?: unknown, deadlineMs?: number): Promise<RawAnswer>;
  /** Calls and gives the result; rejects with the text of an error. */
  ask(method: string, params?: unknown, deadlineMs?: number): Promise<Record<string, unknown>>;
  /** Sends one message in a frame. */
  send(message: unknown): void;
  /** Sends bytes as they are. */
  write(bytes: string | Buffer): void;
  /** Answers requests of the server; without one they stay unanswered. */
  answerWith(handler: (method: string, params: Record<string, unknown>) => unknown): void;
  /** Has the connection ended? */
  readonly closed: boolean;
  /** Resolves when the connection has ended, by whomever. */
  readonly ended: Promise<void>;
  close(): Promise<void>;
}

export const frame = (body: string | Buffer): Buffer => {
  const bytes = Buffer.from(body);
  return Buffer.concat([Buffer.from(`Content-Length: ${bytes.length}\r\n\r\n`), bytes]);
};

/** A plain socket that speaks JSON-RPC, and knows nothing of the node's own code for it. It says nothing by itself. */
export const openRawClient = async (port: number, host = "127.0.0.1"): Promise<RawClient> => {
  const socket = connect({ port, host, noDelay: true });
  await once(socket, "connect");
  const chunks: Buffer[] = [];
  const messages: RawMessage[] = [];
  const pending = new Map<number, (answer: RawAnswer) => void>();
  let handler: ((method: string, params: Record<string, unknown>) => unknown) | undefined;
  let unread: Buffer = Buffer.alloc(0);
  let nextId = 1;
  let closed = false;
  const { promise: ended, resolve: onEnded } = Promise.withResolvers<void>();

  const send = (message: unknown): void => {
    socket.write(frame(JSON.stringify(message)));
  };

  const take = (text: string): void => {
    const body: unknown = JSON.parse(text);
    if (!isObject(body) || body.method === "$/squadron/ack") return;
    messages.push({ text, body });
    const { id, method, params } = body;
    if (typeof method === "string") {
      if (id === undefined || handler === undefined) return;
      void Promise.resolve(handler(method, isObject(params) ? params : {})).then((result) =>
        send({ jsonrpc: "2.0", id, result: result ?? {} }),
      );
      return;
    }
    const settle = pending.get(Number(id));
    pending.delete(Number(id));
    const withoutId = text.replace(/^\{"jsonrpc":"2\.0","id":\d+,/, "{");
    const error = body.error;
    if (!isObject(error)) settle?.({ kind: "result", text: withoutId, result: body.result });
    else {
      const code = isObject(error.data) ? error.data.code : undefined;
      settle?.({ kind: "error", text: withoutId, error, code });
    }
  };

  socket.on("data", (chunk: Buffer) => {
    chunks.push(chunk);
    unread = unread.length === 0 ? chunk : Buffer.concat([unread, chunk]);
    for (;;) {
      const end = unread.indexOf("\r\n\r\n");
      if (end < 0) return;
      const length = Number(/Content-Length: (\d+)/.exec(unread.toString("latin1", 0, end))?.[1]);
      if (unread.length < end + 4 + length) return;
      const text = unread.toString("utf8", end + 4, end + 4 + length);
      unread = unread.subarray(end + 4 + length);
      take(text);
    }
  });
  // The other side may reset a connection that it was told rubbish on: "close" follows either way.
  socket.on("error", () => undefined);
  socket.on("close", () => {
    closed = true;
    onEnded();
  });

  const call: RawClient["call"] = (method, params, deadlineMs = 20_000) => {
    const id = nextId++;
    const { promise, resolve, reject } = Promise.withResolvers<RawAnswer>();
    pending.set(id, resolve);
    void ended.then(() => reject(new Error(`The connection ended before ${method} was answered.`)));
    send({ jsonrpc: "2.0", id, method, ...(params === undefined ? {} : { params }) });
    return within(promise, { what: `an answer to ${method}`, deadlineMs });
  };

  const close = async (): Promise<void> => {
    socket.destroy();
    await ended;
  };

  return {
    socket,
    received: () => Buffer.concat(chunks).toString("utf8"),
    messages,
    events: (type) =>
      messages.flatMap(({ body: { method, params } }) => {
        const event = method === "session.event" && isObject(params) ? params.event : undefined;
        return isObject(event) && (type === undefined || event.type === type) ? [event] : [];
      }),
    call,
    async ask(method, params, deadlineMs) {
      const answer = await call(method, params, deadlineMs);
      if (answer.kind === "error") throw new Error(`${method}: ${answer.text}`);
      return isObject(answer.result) ? answer.result : {};
    },
    send,
    write: (bytes) => void socket.write(bytes),
    answerWith: (given) => {
      handler = given;
    },
    get closed() {
      return closed;
    },
    ended,
    close,
    [Symbol.asyncDispose]: close,
  };
};

/** The same, after `connect` with this key. */
export const connectRaw = async (port: number, key: string): Promise<RawClient> => {
  const client = await openRawClient(port);
  await client.ask("connect", { token: key });
  return client;
};
