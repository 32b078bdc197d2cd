import { setTimeout as sleep } from "node:timers/promises";
import { createParser } from "eventsource-parser";
import { eventually } from "./wait.ts";

/** An event of a stream, as an `EventSource` would get it. */
export interface ReadEvent {
  readonly id: string | undefined;
  readonly event: string;
  readonly data: Record<string, unknown>;
}

/** A client of a session's event stream that comes back with the last id whenever the stream ends, as browsers do. */
export interface StreamReader extends AsyncDisposable {
  /** All that it got, repetitions included if there were any. */
  readonly events: readonly ReadEvent[];
  /** What it makes of them: the history's events, with `stream.rewind` obeyed. */
  readonly joined: readonly Record<string, unknown>[];
  readonly lastId: string | undefined;
  /** The status of the last answer. */
  readonly status: number | undefined;
  readonly comments: readonly string[];
  readonly reconnects: number;
  /** Cuts the connection. It comes back, unless it has been stopped. */
  drop(): void;
  until(what: string, look: () => unknown, deadlineMs?: number): Promise<void>;
  stop(): Promise<void>;
}

export type OpenStream = (lastId: string | undefined, signal: AbortSignal) => Promise<Response>;

/** `from` is the first id that it asks for; the stream begins now without it. A refusal ends it, unless it is a 503. */
export const readStream = (open: OpenStream, options: { readonly from?: string } = {}): StreamReader => {
  const events: ReadEvent[] = [];
  const joined: Record<string, unknown>[] = [];
  const comments: string[] = [];
  let lastId = options.from;
  let status: number | undefined;
  let connects = 0;
  let stopped = false;
  let failure: Error | undefined;
  let connection = new AbortController();

  const take = (event: ReadEvent): void => {
    events.push(event);
    if (event.id !== undefined) lastId = event.id;
    const { data } = event;
    if (event.event === "stream.rewind") {
      const at = joined.findIndex(({ id }) => id === data.to);
      if (options.from === "start" && data.to !== "start" && at < 0)
        failure ??= new Error(`A rewind to ${data.to}, which was never told.`);
      joined.length = at + 1;
    } else if (typeof data.id === "string" && data.ephemeral !== true) joined.push(data);
  };

  const readOnce = async (): Promise<void> => {
    const response = await open(lastId, connection.signal);
    status = response.status;
    connects++;
    if (!response.ok || response.body === null) return;
    const parser = createParser({
      onEvent: ({ id, event = "message", data }) =>
        take({ id, event, data: JSON.parse(data) as Record<string, unknown> }),
      onComment: (comment) => comments.push(comment),
    });
    const decoder = new TextDecoder();
    for await (const chunk of response.body) parser.feed(decoder.decode(chunk, { stream: true }));
  };

  const run = async (): Promise<void> => {
    while (!stopped) {
      connection = new AbortController();
      try {
        await readOnce();
        if (status !== 200 && status !== 503) return;
      } catch {
        // The connection is gone, by us or by the other side: an EventSource tries again.
      }
      if (!stopped) await sleep(10);
    }
  };

  const stop = async (): Promise<void> => {
    stopped = true;
    connection.abort();
    await running;
    if (failure !== undefined) throw failure;
  };

  const running = run();
  return {
    events,
    joined,
    comments,
    get lastId() {
      return lastId;
    },
    get status() {
      return status;
    },
    get reconnects() {
      return Math.max(0, connects - 1);
    },
    drop: () => connection.abort(),
    async until(what, look, deadlineMs) {
      await eventually(() => Boolean(look()), { what, ...(deadlineMs !== undefined && { deadlineMs }) });
    },
    stop,
    [Symbol.asyncDispose]: stop,
  };
};
