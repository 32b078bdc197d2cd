import { type StoredEvents, startOfHistory } from "../sessions/stored-events.ts";
import type { EventLog, Found, LogEntry } from "./event-log.ts";
import { type EventPosition, formatPosition, nextOrder, noOrder } from "./event-position.ts";

/** One reader's way through a session's stream, from a place on: no gap, no repetition. */
export interface EventReader {
  /** The place where it begins. */
  readonly begin: string;
  /** The next event, if there is one; `wait` until the listener is called. */
  next(): Found;
  close(): void;
}

const json = (value: unknown): Buffer => Buffer.from(JSON.stringify(value));

const idOf = (place: string): string | undefined => (place === startOfHistory ? undefined : place);

const rewindTo = (place: string): LogEntry => ({
  id: place,
  type: "stream.rewind",
  data: json({ to: place }),
});

/** Are the events up to this place stored in the order in which its reader got them? */
const isInOrder = ({ told, kept, live }: EventPosition, stored: StoredEvents): boolean => {
  if (live === undefined || told === kept) return true;
  let order = noOrder;
  for (const { id } of stored.after(idOf(kept)) ?? []) {
    order = nextOrder(order, id);
    if (id === told) return order === live.order;
  }
  return false;
};

/** What the stored history has after a place. What its reader has seen and the history lost comes first, as a rewind. */
export function* storedAfter(
  position: EventPosition,
  stored: StoredEvents,
  show: (event: unknown) => unknown,
): Generator<LogEntry> {
  const { told, kept } = position;
  let events = isInOrder(position, stored) ? stored.after(idOf(told), idOf(kept)) : undefined;
  if (events === undefined) {
    const left = stored.after(idOf(kept));
    yield rewindTo(left === undefined ? startOfHistory : kept);
    events = left ?? stored.after(undefined) ?? [];
  }
  for (const { id, type, event } of events) yield { id, type, data: json(show(event)) };
}

/**
 * Opens a way through the stream after `position`, from now on if there is none. `listener` is called when there may be
 * more. Rejects with the signal's reason, and with `store_unavailable` when the history is needed and cannot be read.
 */
export const openEventReader = async (options: {
  readonly log: EventLog;
  readonly position: EventPosition | undefined;
  readonly readStored: () => Promise<StoredEvents>;
  /** An event of the history as clients see it. */
  readonly show: (event: unknown) => unknown;
  readonly listener: () => void;
  readonly signal: AbortSignal;
}): Promise<EventReader> => {
  const { log, position, readStored, show, signal } = options;
  let wake: (() => void) | undefined;
  const stop = log.listen(() => {
    wake?.();
    options.listener();
  });
  const wakeUp = (): void => wake?.();

  const changed = async (revision: number): Promise<void> => {
    signal.addEventListener("abort", wakeUp);
    try {
      while (log.revision === revision && !signal.aborted)
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
      signal.throwIfAborted();
    } finally {
      wake = undefined;
      signal.removeEventListener("abort", wakeUp);
    }
  };

  /** The stored history, and what has been told since it was. */
  const fromStore = async (): Promise<{
    stored: StoredEvents;
    following: readonly LogEntry[];
    from: number;
  }> => {
    for (;;) {
      const { revision } = log;
      const stored = await readStored();
      signal.throwIfAborted();
      if (log.ended !== undefined) throw log.ended;
      const last = stored.last ?? startOfHistory;
      const following = log.afterKept(last);
      if (following !== undefined) {
        if (!log.oriented) log.restored(last);
        return { stored, following: following.before, from: following.from };
      }
      if (log.revision !== revision) continue;
      // Part of what was told since is not here: soon it is stored, or has not happened.
      if (log.moving) await changed(revision);
      // The history has gone on without this log.
      else log.restored(last);
    }
  };

  const open = async (): Promise<{ begin: string; before: Iterable<LogEntry>; from: number }> => {
    if (position === undefined) {
      if (!log.oriented) await fromStore();
      return { begin: formatPosition(log.position), before: [], from: log.position.live.at + 1 };
    }
    const begin = formatPosition(position);
    const near = log.after(position);
    if (near !== undefined) return { begin, ...near };
    const { stored, following, from } = await fromStore();
    const before = function* (): Generator<LogEntry> {
      yield* storedAfter(position, stored, show);
      yield* following;
    };
    return { begin, before: before(), from };
  };

  try {
    signal.throwIfAborted();
    const { begin, before, from } = await open();
    const ahead = before[Symbol.iterator]();
    let drained = false;
    let place = from;
    return {
      begin,
      next() {
        if (!drained) {
          const { done, value } = ahead.next();
          if (done !== true) return { kind: "entry", entry: value };
          drained = true;
        }
        const found = log.at(place);
        if (found.kind === "entry") place++;
        return found;
      },
      close: stop,
    };
  } catch (error) {
    stop();
    throw error;
  }
};
