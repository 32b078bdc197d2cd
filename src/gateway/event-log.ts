import type { Clock } from "../kernel/clock.ts";
import { SquadronError } from "../kernel/errors.ts";
import { newId } from "../kernel/ids.ts";
import type { HistoryWatch } from "../sessions/history-watch.ts";
import { type StoredEvents, startOfHistory } from "../sessions/stored-events.ts";
import { type EventPosition, formatPosition, nextOrder, noOrder } from "./event-position.ts";

/** How much of what was told is kept for readers that come back. */
const defaultBounds = { entries: 10_000, bytes: 4 * 2 ** 20 };
/** How long it is kept for when nobody reads. */
const graceMs = 120_000;

/** One event as every reader of a session gets it. */
export interface LogEntry {
  /** Its place, as readers name it. */
  readonly id: string;
  readonly type: string;
  /** JSON on one line. */
  readonly data: Buffer;
}

interface Told extends LogEntry {
  readonly at: number;
}

/** Events of the history that have been told and are not stored yet. */
interface Unkept {
  readonly id: string;
  readonly entry: Told | undefined;
  readonly at: number;
  /** Has what was told after it been stored before it? */
  readonly deferred?: true;
}

/** What a reader finds at a place. */
export type Found =
  | { readonly kind: "entry"; readonly entry: LogEntry }
  | { readonly kind: "wait" }
  | { readonly kind: "end"; readonly error: SquadronError };

/** What follows a stored event in memory: entries that are no longer with the others, then all from a place on. */
export interface Following {
  readonly before: readonly LogEntry[];
  readonly from: number;
}

/**
 * What one session has told of late, once for all who read it. It outlives the session's host and its runtimes. Without
 * readers it holds only what is not stored yet.
 */
export interface EventLog extends HistoryWatch {
  /** Names this log among all that the session has had. */
  readonly name: string;
  /** An event that counts in the history has its `id`; others are ephemeral. `data` is asked for only if it is kept. */
  tell(event: { readonly type: string; readonly id?: string; readonly data: () => Buffer }): void;
  /** The session is no more. */
  end(error: SquadronError): void;
  /** Where the next event will be told. */
  readonly position: EventPosition & { readonly live: NonNullable<EventPosition["live"]> };
  /** Is it known where the stored history ends? */
  readonly oriented: boolean;
  /** Has anything been told that is not stored yet, or is being stored, or been stored and is about to be told? */
  readonly moving: boolean;
  /** The place after that one, if all that was told since is here. */
  after(position: EventPosition): Following | undefined;
  /** What follows the event with which the stored history ends; undefined when that cannot be said in this revision. */
  afterKept(last: string): Following | undefined;
  at(place: number): Found;
  /** Calls the listener when there is more to be found; begins to keep what is told. */
  listen(listener: () => void): () => void;
  /** Grows, and listeners are called, when something has been stored, the session has left its runtime, or has ended. */
  readonly revision: number;
  readonly ended: SquadronError | undefined;
  /** Does anybody read it, or may still come back? */
  readonly followed: boolean;
}

const comeAgain = (): SquadronError =>
  new SquadronError(
    "slow_consumer",
    "The stream has gone on without this reader, or the history was changed under it; resume where it was.",
  );

export const createEventLog = (options: {
  readonly clock: Clock;
  readonly bounds?: { readonly entries: number; readonly bytes: number };
  /** An event of the history as clients see it. */
  readonly show: (event: unknown) => unknown;
  /** Nobody reads it any more, nor may come back. */
  readonly onQuiet: () => void;
}): EventLog => {
  const { clock, bounds = defaultBounds } = options;
  const listeners = new Set<() => void>();
  let cancelGrace: (() => void) | undefined;
  let name = newId("log").slice(-8);
  /** By place, without a hole from `first` to `next`. */
  const ring = new Map<number, Told>();
  /** Places of the ring's events that count in the history. */
  const places = new Map<string, number>();
  let ringBytes = 0;
  let first = 1;
  let next = 1;
  let unkept: Unkept[] = [];
  let unkeptBytes = 0;
  /** In which `unkept` was told. */
  let order = noOrder;
  let told: string | undefined;
  let kept: string | undefined;
  /** What was stored before all of it was told. */
  let coming: { readonly last: string; readonly tail: StoredEvents } | undefined;
  /** Is this event in the history that was written anew, or told in its place already, though it is told only now? */
  let known: ((id: string) => boolean) | undefined;
  let storing = 0;
  let ended: SquadronError | undefined;
  let revision = 0;

  const followed = (): boolean => listeners.size > 0 || cancelGrace !== undefined;

  const notify = (): void => {
    for (const listener of [...listeners]) listener();
  };

  const setUnkept = (left: Unkept[]): void => {
    unkept = left;
    unkeptBytes = left.reduce((sum, { entry }) => sum + (entry?.data.length ?? 0), 0);
    order = left.reduce((before, { id }) => nextOrder(before, id), noOrder);
  };

  const position = (at: number) => ({
    told: told ?? startOfHistory,
    kept: kept ?? startOfHistory,
    live: { log: name, at, order },
  });

  const forget = (entry: Told): void => {
    ring.delete(entry.at);
    ringBytes -= entry.data.length;
    first = entry.at + 1;
  };

  const trim = (most: { readonly entries: number; readonly bytes: number }): void => {
    for (const entry of ring.values()) {
      if (ring.size <= most.entries && ringBytes <= most.bytes) break;
      forget(entry);
    }
    for (const [id, at] of places) {
      if (at >= first) break;
      places.delete(id);
    }
  };

  const append = (type: string, data: Buffer): Told => {
    const at = next++;
    const entry: Told = { at, id: formatPosition(position(at)), type, data };
    if (followed()) {
      ring.set(at, entry);
      ringBytes += data.length;
      trim(bounds);
    } else first = next;
    return entry;
  };

  const tellKept = (type: string, id: string, data: Buffer): void => {
    told = id;
    if (coming === undefined) order = nextOrder(order, id);
    else kept = id;
    const entry = append(type, data);
    if (ring.has(entry.at)) places.set(id, entry.at);
    if (coming === undefined) {
      unkeptBytes += data.length;
      unkept.push({ id, at: entry.at, entry: unkeptBytes <= bounds.bytes ? entry : undefined });
    } else if (id === coming.last) {
      coming = undefined;
      revision++;
    }
  };

  /** Runtimes tell a session's end to nobody when they let it go. */
  const tellRest = (): void => {
    const { tail } = coming ?? {};
    const rest = tail?.after(told) ?? tail?.after(undefined) ?? [];
    for (const { id, type, event } of rest)
      tellKept(type, id, Buffer.from(JSON.stringify(options.show(event))));
    coming = undefined;
  };

  /** What is stored before this event is told before it, though its runtime tells it only then. */
  const tellBefore = (id: string): void => {
    const events = [...(coming?.tail.after(told) ?? coming?.tail.after(undefined) ?? [])];
    const before = events.slice(
      0,
      Math.max(
        0,
        events.findIndex((one) => one.id === id),
      ),
    );
    if (before.length === 0) return;
    for (const one of before)
      tellKept(one.type, one.id, Buffer.from(JSON.stringify(options.show(one.event))));
    const ids = new Set(before.map((one) => one.id));
    known = (one) => ids.has(one);
  };

  /** Runtimes tell some events twice. */
  const isRepeated = (id: string): boolean =>
    id === told || places.has(id) || unkept.some((one) => one.id === id);

  /**
   * Runtimes tell some events in another order than they write them, such as an abort behind the end of its step: what
   * differs from what is stored is taken back and told as it is stored. True when there was any.
   */
  const reorder = (tail: StoredEvents): boolean => {
    const events = [...(tail.after(undefined) ?? [])];
    const same = unkept.findIndex(({ id }, at) => id !== events[at]?.id);
    if (same < 0 || same >= events.length) return false;
    const ids = new Set(events.map(({ id }) => id));
    const others = unkept.filter(({ id, deferred }) => !ids.has(id) && !deferred);
    const base = same === 0 ? kept : unkept[same - 1]?.id;
    setUnkept([]);
    told = base;
    kept = base;
    append("stream.rewind", Buffer.from(JSON.stringify({ to: base ?? startOfHistory })));
    for (const { id, type, event } of events.slice(same)) {
      told = id;
      kept = id;
      const { at } = append(type, Buffer.from(JSON.stringify(options.show(event))));
      if (ring.has(at)) places.set(id, at);
    }
    coming = undefined;
    for (const { id, entry } of others) if (entry !== undefined) tellKept(entry.type, id, entry.data);
    // What is not stored with the next commit either is no part of the history.
    unkept = unkept.map((one) => ({ ...one, deferred: true }));
    known = (id) => ids.has(id);
    return true;
  };

  const rollBack = (): void => {
    if (unkept.length === 0) return;
    setUnkept([]);
    told = kept;
    append("stream.rewind", Buffer.from(JSON.stringify({ to: kept ?? startOfHistory })));
  };

  const changed = (): void => {
    revision++;
    notify();
  };

  /** What readers have is not what is stored: they must begin from there. */
  const restart = (last: string): void => {
    name = newId("log").slice(-8);
    trim({ entries: 0, bytes: 0 });
    // Nobody waits at a place that is still to come.
    first = ++next;
    setUnkept([]);
    told = last;
    kept = last;
    coming = undefined;
  };

  const unkeptFrom = (at: number): Following | undefined => {
    const before = unkept.filter((one) => one.at > at && one.at < first);
    if (before.some(({ entry }) => entry === undefined)) return undefined;
    return { before: before.flatMap(({ entry }) => entry ?? []), from: Math.max(first, at + 1) };
  };

  return {
    get name() {
      return name;
    },
    tell({ type, id, data }) {
      if (ended !== undefined) return;
      if (id === undefined) {
        if (followed()) append(type, data());
        else first = ++next;
      } else if (known?.(id) !== true && !isRepeated(id)) {
        tellBefore(id);
        tellKept(type, id, data());
      }
      notify();
    },
    restored(last) {
      known = undefined;
      rollBack();
      if (kept === undefined) {
        kept = last;
        told = last;
      } else if (kept !== last) restart(last);
      changed();
    },
    storing() {
      storing++;
      return () => {
        storing--;
        changed();
      };
    },
    stored(last, tail) {
      known = undefined;
      if (kept !== undefined && reorder(tail)) return changed();
      const at = unkept.findIndex(({ id }) => id === last);
      if (at >= 0) {
        kept = last;
        setUnkept(unkept.slice(at + 1));
        coming = undefined;
      } else if (last !== kept && !places.has(last)) {
        // Whatever has been told stands before it.
        kept = told;
        setUnkept([]);
        coming = { last, tail };
      } else coming = undefined;
      changed();
    },
    rewritten(last, has) {
      restart(last);
      known = has;
      changed();
    },
    left() {
      tellRest();
      rollBack();
      changed();
    },
    end(error) {
      ended = error;
      changed();
    },
    get position() {
      return position(next - 1);
    },
    get oriented() {
      return kept !== undefined;
    },
    get moving() {
      return unkept.length > 0 || coming !== undefined || storing > 0;
    },
    after({ told: last, kept: keptThen, live }) {
      if (live?.log === name && live.at + 1 >= first && live.at < next)
        return { before: [], from: live.at + 1 };
      if (last === kept && last === keptThen) return unkeptFrom(0);
      const waiting = unkept.find(({ id }) => id === last);
      if (live !== undefined && last !== keptThen) {
        // What was told before it may since have been told in another order.
        return live.log === name && waiting !== undefined && waiting.at <= live.at
          ? unkeptFrom(waiting.at)
          : undefined;
      }
      const place = places.get(last);
      if (place !== undefined && place >= first) return { before: [], from: place + 1 };
      return waiting && unkeptFrom(waiting.at);
    },
    afterKept(last) {
      const place = places.get(last);
      if (place !== undefined && place >= first) return { before: [], from: place + 1 };
      const waiting = unkept.find(({ id }) => id === last);
      if (waiting !== undefined) return unkeptFrom(waiting.at);
      if (last === kept || kept === undefined) return unkeptFrom(0);
      return undefined;
    },
    at(place) {
      if (place < first) return { kind: "end", error: comeAgain() };
      const entry = ring.get(place);
      if (entry !== undefined) return { kind: "entry", entry };
      return ended === undefined ? { kind: "wait" } : { kind: "end", error: ended };
    },
    listen(listener) {
      cancelGrace?.();
      cancelGrace = undefined;
      listeners.add(listener);
      return () => {
        if (!listeners.delete(listener) || listeners.size > 0) return;
        cancelGrace = clock.after(graceMs, () => {
          cancelGrace = undefined;
          trim({ entries: 0, bytes: 0 });
          options.onQuiet();
        });
      };
    },
    get revision() {
      return revision;
    },
    get ended() {
      return ended;
    },
    get followed() {
      return followed();
    },
  };
};
