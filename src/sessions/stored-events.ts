import type { Store } from "../store/store.ts";
import { linesWith, logPath, parsedEvent } from "./history-ids.ts";

/**
 * Events that are no part of the conversation: what the model is told, which runtimes tell with every turn and write only
 * now and then; what the hooks of the founder's programs are asked and say, which may be meant for the model alone; and
 * what those programs are asked about MCP servers, with addresses and client secrets. And where the session works.
 */
export const untold: ReadonlySet<string> = new Set([
  ...["system.message", "model.messages_snapshot"],
  ...["hook.start", "hook.progress", "hook.end"],
  ...["mcp.oauth_required", "mcp.headers_refresh_required"],
  "session.context_changed",
]);

/** Stands for the place before the first event of a history. */
export const startOfHistory = "start";

/** An event of the history with the id that it has for ever. */
export interface StoredEvent {
  readonly id: string;
  readonly type: string;
  readonly event: Record<string, unknown>;
}

const newline = 0x0a;

/** A line that is no event, or is none that is told, is passed over. */
const told = (line: string): StoredEvent | undefined => {
  const event = parsedEvent(line);
  const { id, type } = event ?? {};
  if (event === undefined || typeof id !== "string" || typeof type !== "string" || untold.has(type))
    return undefined;
  return { id, type, event };
};

/** The last event of a log; undefined when it has none. A line without an end is not written yet. */
export const lastEventOf = (log: Buffer): string | undefined => {
  for (let end = log.lastIndexOf(newline); end >= 0; ) {
    const start = end === 0 ? 0 : log.lastIndexOf(newline, end - 1) + 1;
    const event = told(log.toString("utf8", start, end));
    if (event !== undefined) return event.id;
    end = start - 1;
  }
  return undefined;
};

/** Where the line of this event ends; undefined when the log has none from `from` on. */
const endOfEvent = (log: Buffer, id: string, from: number): number | undefined => {
  for (const { text, end } of linesWith(log.subarray(from), JSON.stringify(id)))
    if (from + end < log.length && told(text)?.id === id) return from + end + 1;
  return undefined;
};

function* eventsFrom(log: Buffer, from: number): Generator<StoredEvent> {
  for (let start = from; start < log.length; ) {
    const end = log.indexOf(newline, start);
    if (end < 0) return;
    const event = told(log.toString("utf8", start, end));
    if (event !== undefined) yield event;
    start = end + 1;
  }
}

/** A session's history as it was stored at one moment. */
export interface StoredEvents {
  /** Undefined when it has none. */
  readonly last: string | undefined;
  /** What follows an event, or the whole; undefined when it is not there, nor after `behind`. */
  after(id: string | undefined, behind?: string): Iterable<StoredEvent> | undefined;
}

export const storedEventsOf = (log: Buffer): StoredEvents => ({
  last: lastEventOf(log),
  after(id, behind) {
    const from = behind === undefined ? 0 : endOfEvent(log, behind, 0);
    if (id === undefined || from === undefined) return from === undefined ? undefined : eventsFrom(log, from);
    if (id === behind) return eventsFrom(log, from);
    const end = endOfEvent(log, id, from);
    return end === undefined ? undefined : eventsFrom(log, end);
  },
});

/** Reads a session's history without waking it. */
export const readStoredEvents = async (
  store: Pick<Store, "state">,
  session: string,
): Promise<StoredEvents> => {
  const file = await store.state.file({ kind: "session", id: session }, logPath);
  return storedEventsOf(
    file === undefined
      ? Buffer.alloc(0)
      : Buffer.from(file.bytes.buffer, file.bytes.byteOffset, file.bytes.byteLength),
  );
};
