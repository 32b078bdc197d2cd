import { newId } from "../kernel/ids.ts";
import type { HistoryWatch } from "../sessions/history-watch.ts";
import { type StoredEvent, type StoredEvents, startOfHistory } from "../sessions/stored-events.ts";
import { type EventPosition, formatPosition } from "./event-position.ts";
import type { EventRing, PlacedEntry } from "./event-ring.ts";
import type { UnkeptEvents } from "./unkept-events.ts";

/** The place of an event that was told live. */
export type LivePosition = EventPosition & { readonly live: NonNullable<EventPosition["live"]> };

/**
 * What a log has told of a session's history, held against what is stored of it: what has been stored and not told is told,
 * what has been told and not stored, or otherwise, is taken back.
 */
export interface ToldHistory extends Omit<HistoryWatch, "storing"> {
  /** Names the log among all that the session has had; another one when readers must begin anew. */
  readonly name: string;
  /** The last event that is known to be stored; undefined as long as it is not known where the history ends. */
  readonly kept: string | undefined;
  /** Where the last event was told. */
  readonly position: LivePosition;
  /** Has anything been told that is not stored yet, or been stored and is about to be told? */
  readonly moving: boolean;
  /** An event that does not count in the history. */
  tellEphemeral(type: string, data: () => Buffer): void;
  /** An event of the history; a runtime may tell it twice, late, or out of order. */
  tell(type: string, id: string, data: () => Buffer): void;
}

/** What was stored before all of it was told. */
interface Coming {
  readonly last: string;
  readonly tail: StoredEvents;
}

const newName = (): string => newId("log").slice(-8);

const jsonOf = (value: unknown): Buffer => Buffer.from(JSON.stringify(value));

export const createToldHistory = (options: {
  readonly ring: EventRing;
  readonly unkept: UnkeptEvents;
  /** Is what is told to be remembered? */
  readonly followed: () => boolean;
  /** An event of the history as clients see it. */
  readonly show: (event: unknown) => unknown;
  /** What was stored before it was told has been told. */
  readonly onCaughtUp: () => void;
}): ToldHistory => {
  const { ring, unkept, followed } = options;
  let name = newName();
  let told: string | undefined;
  let kept: string | undefined;
  let coming: Coming | undefined;
  /** Is this event in the history that was written anew, or told in its place already, though it is told only now? */
  let known: ((id: string) => boolean) | undefined;

  const position = (at: number): LivePosition => ({
    told: told ?? startOfHistory,
    kept: kept ?? startOfHistory,
    live: { log: name, at, order: unkept.order },
  });

  const append = (type: string, data: Buffer, id?: string): PlacedEntry => {
    const at = ring.next;
    const entry: PlacedEntry = { at, id: formatPosition(position(at)), type, data };
    if (followed()) ring.keep(entry, id);
    else ring.pass();
    return entry;
  };

  const tellOnce = (type: string, id: string, data: Buffer): void => {
    told = id;
    if (coming === undefined) {
      unkept.add(id, () => append(type, data, id));
      return;
    }
    kept = id;
    append(type, data, id);
    if (id !== coming.last) return;
    coming = undefined;
    options.onCaughtUp();
  };

  const tellStored = ({ id, type, event }: StoredEvent): void =>
    tellOnce(type, id, jsonOf(options.show(event)));

  /** What is stored and has not been told yet. */
  const untold = (): Iterable<StoredEvent> => coming?.tail.after(told) ?? coming?.tail.after(undefined) ?? [];

  /** Runtimes tell a session's end to nobody when they let it go. */
  const tellRest = (): void => {
    for (const one of untold()) tellStored(one);
    coming = undefined;
  };

  /** What is stored before this event is told before it, though its runtime tells it only then. */
  const tellBefore = (id: string): void => {
    const events = [...untold()];
    const index = events.findIndex((one) => one.id === id);
    const before = events.slice(0, Math.max(0, index));
    if (before.length === 0) return;
    for (const one of before) tellStored(one);
    const ids = new Set(before.map((one) => one.id));
    known = (one) => ids.has(one);
  };

  /** Runtimes tell some events twice. */
  const isRepeated = (id: string): boolean => id === told || ring.hasHad(id) || unkept.find(id) !== undefined;

  const rewindTo = (place: string | undefined): void => {
    unkept.clear();
    told = place;
    kept = place;
    append("stream.rewind", jsonOf({ to: place ?? startOfHistory }));
  };

  /**
   * Runtimes tell some events in another order than they write them, such as an abort behind the end of its step: what
   * differs from what is stored is taken back and told as it is stored. True when there was any.
   */
  const reorder = (tail: StoredEvents): boolean => {
    const events = [...(tail.after(undefined) ?? [])];
    const same = unkept.list.findIndex(({ id }, at) => id !== events[at]?.id);
    if (same < 0 || same >= events.length) return false;
    const ids = new Set(events.map(({ id }) => id));
    const others = unkept.list.filter(({ id, deferred }) => !ids.has(id) && !deferred);
    rewindTo(same === 0 ? kept : unkept.list[same - 1]?.id);
    for (const { id, type, event } of events.slice(same)) {
      told = id;
      kept = id;
      append(type, jsonOf(options.show(event)), id);
    }
    coming = undefined;
    for (const { id, entry } of others) if (entry !== undefined) tellOnce(entry.type, id, entry.data);
    // What is not stored with the next commit either is no part of the history.
    unkept.defer();
    known = (id) => ids.has(id);
    return true;
  };

  const rollBack = (): void => {
    if (unkept.list.length > 0) rewindTo(kept);
  };

  /** What readers have is not what is stored: they must begin from there. */
  const restart = (last: string): void => {
    name = newName();
    ring.clear();
    // Nobody waits at a place that is still to come.
    ring.pass();
    unkept.clear();
    told = last;
    kept = last;
    coming = undefined;
  };

  return {
    get name() {
      return name;
    },
    get kept() {
      return kept;
    },
    get position() {
      return position(ring.next - 1);
    },
    get moving() {
      return unkept.list.length > 0 || coming !== undefined;
    },
    tellEphemeral(type, data) {
      if (followed()) append(type, data());
      else ring.pass();
    },
    tell(type, id, data) {
      if (known?.(id) === true || isRepeated(id)) return;
      tellBefore(id);
      tellOnce(type, id, data());
    },
    restored(last) {
      known = undefined;
      rollBack();
      if (kept === undefined) {
        kept = last;
        told = last;
      } else if (kept !== last) restart(last);
    },
    stored(last, tail) {
      known = undefined;
      if (kept !== undefined && reorder(tail)) return;
      coming = undefined;
      const index = unkept.list.findIndex(({ id }) => id === last);
      if (index >= 0) {
        kept = last;
        unkept.dropTo(index + 1);
      } else if (last !== kept && !ring.hasHad(last)) {
        // Whatever has been told stands before it.
        kept = told;
        unkept.clear();
        coming = { last, tail };
      }
    },
    rewritten(last, has) {
      restart(last);
      known = has;
    },
    left() {
      tellRest();
      rollBack();
    },
  };
};
