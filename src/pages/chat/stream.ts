import { createParser } from "eventsource-parser";
import { ApiError, api } from "./api.ts";
import { record, text } from "./json.ts";
import type { StreamEvent } from "./room.ts";

export type StreamState =
  | { readonly kind: "connecting" }
  | { readonly kind: "open" }
  /** Lost; it is tried again by itself. */
  | { readonly kind: "waiting" }
  | { readonly kind: "ended"; readonly code: string; readonly detail: string };

const start = "start";
const firstWaitMs = 500;
const longestWaitMs = 8_000;
/** The node says something every 15 s. */
const silentMs = 40_000;
/** How often the page takes in what has come: not for every word. */
const batchMs = 40;

/** After these there is no sense in coming back. */
const final: ReadonlySet<string> = new Set([
  "session_deleted",
  "session_not_found",
  "unauthenticated",
  "forbidden",
  "cancelled",
]);

const isFinal = (error: unknown): error is ApiError =>
  error instanceof ApiError && (final.has(error.code) || (error.status >= 400 && error.status < 429));

/** Waits, but no longer than until the network is back or `signal` aborts. */
const pause = (ms: number, signal: AbortSignal): Promise<void> =>
  new Promise((resolve) => {
    const done = (): void => {
      clearTimeout(timer);
      window.removeEventListener("online", done);
      signal.removeEventListener("abort", done);
      resolve();
    };
    const timer = setTimeout(done, ms);
    window.addEventListener("online", done);
    signal.addEventListener("abort", done);
  });

/**
 * Follows a session's stream from the begin of its history on, over every cut, until it is closed or there is no sense in
 * coming back. It is read with `fetch`, since an `EventSource` tells neither why it ended nor events of unknown names; ids and
 * `Last-Event-ID` are the same.
 */
export const followSession = (options: {
  readonly session: string;
  readonly onEvents: (events: readonly StreamEvent[]) => void;
  readonly onState: (state: StreamState) => void;
}): { close(): void; restart(): void } => {
  const { session, onEvents, onState } = options;
  const closing = new AbortController();
  let attempt = new AbortController();
  let last = start;
  let waitMs = firstWaitMs;
  let batch: StreamEvent[] = [];
  let timer: ReturnType<typeof setTimeout> | undefined;

  const flush = (): void => {
    clearTimeout(timer);
    timer = undefined;
    const events = batch;
    batch = [];
    if (events.length > 0 && !closing.signal.aborted) onEvents(events);
  };

  const take = (id: string | undefined, name: string, data: string): void => {
    if (id !== undefined && id !== "") last = id;
    batch.push({ name, event: record(JSON.parse(data)) });
    timer ??= setTimeout(flush, batchMs);
  };

  /** Reads until the stream ends; why it did, if it said so. */
  const read = async (signal: AbortSignal): Promise<ApiError | undefined> => {
    const response = await api.events(session, last, signal);
    const reader = response.body?.getReader();
    if (reader === undefined) return undefined;
    let ending: ApiError | undefined;
    const parser = createParser({
      onEvent({ id, event = "message", data }) {
        if (signal.aborted) return;
        if (event === "stream.closed") {
          const { code, detail } = record(JSON.parse(data));
          ending = new ApiError(0, text(code), text(detail));
          return;
        }
        if (event === "stream.opened") {
          waitMs = firstWaitMs;
          onState({ kind: "open" });
        }
        take(id, event, data);
      },
    });
    const decoder = new TextDecoder();
    for (;;) {
      const silence = setTimeout(() => void reader.cancel(), silentMs);
      const { done, value } = await reader.read().finally(() => clearTimeout(silence));
      if (done) return ending;
      parser.feed(decoder.decode(value, { stream: true }));
    }
  };

  const run = async (): Promise<void> => {
    onState({ kind: "connecting" });
    while (!closing.signal.aborted) {
      attempt = new AbortController();
      const signal = AbortSignal.any([closing.signal, attempt.signal]);
      let ending: unknown;
      try {
        ending = await read(signal);
      } catch (error) {
        ending = error;
      }
      flush();
      if (closing.signal.aborted) return;
      if (isFinal(ending)) {
        onState({ kind: "ended", code: ending.code, detail: ending.message });
        return;
      }
      if (attempt.signal.aborted) continue;
      onState({ kind: "waiting" });
      await pause(waitMs, closing.signal);
      waitMs = Math.min(waitMs * 2, longestWaitMs);
    }
  };
  void run();

  return {
    close() {
      closing.abort();
      clearTimeout(timer);
    },
    /** Reads everything from the begin of the history. */
    restart() {
      last = start;
      batch = [];
      attempt.abort();
    },
  };
};
