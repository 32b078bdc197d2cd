import type { Clock } from "../kernel/clock.ts";
import { SquadronError } from "../kernel/errors.ts";
import type { HistoryWatch } from "../sessions/history-watch.ts";
import type { EventPosition } from "./event-position.ts";
import { createEventRing, type EventBounds, type LogEntry } from "./event-ring.ts";
import { createLogListeners } from "./log-listeners.ts";
import { createToldHistory, type LivePosition } from "./told-history.ts";
import { createUnkeptEvents } from "./unkept-events.ts";

export type { LogEntry } from "./event-ring.ts";

/** How much of what was told is kept for readers that come back. */
const defaultBounds: EventBounds = { entries: 10_000, bytes: 4 * 2 ** 20 };

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
  readonly position: LivePosition;
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
  readonly bounds?: EventBounds;
  /** An event of the history as clients see it. */
  readonly show: (event: unknown) => unknown;
  /** Nobody reads it any more, nor may come back. */
  readonly onQuiet: () => void;
}): EventLog => {
  const { clock, bounds = defaultBounds } = options;
  let storing = 0;
  let ended: SquadronError | undefined;
  let revision = 0;

  const ring = createEventRing(bounds);
  const unkept = createUnkeptEvents(bounds.bytes);

  const listeners = createLogListeners({
    clock,
    onQuiet() {
      ring.clear();
      options.onQuiet();
    },
  });

  const history = createToldHistory({
    ring,
    unkept,
    followed: () => listeners.followed,
    show: options.show,
    onCaughtUp: () => revision++,
  });

  const changed = (): void => {
    revision++;
    listeners.notify();
  };

  /** What was told after this place. */
  const followingPlace = (at: number): Following | undefined => {
    const before = unkept.list.filter((one) => one.at > at && one.at < ring.first);
    if (before.some(({ entry }) => entry === undefined)) return undefined;
    return { before: before.flatMap(({ entry }) => entry ?? []), from: Math.max(ring.first, at + 1) };
  };

  /** What was told after this event of the history, if it has been of late. */
  const followingEvent = (id: string): Following | undefined => {
    const place = ring.placeOf(id);
    if (place !== undefined) return { before: [], from: place + 1 };
    const waiting = unkept.find(id);
    return waiting && followingPlace(waiting.at);
  };

  return {
    get name() {
      return history.name;
    },
    tell({ type, id, data }) {
      if (ended !== undefined) return;
      if (id === undefined) history.tellEphemeral(type, data);
      else history.tell(type, id, data);
      listeners.notify();
    },
    restored(last) {
      history.restored(last);
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
      history.stored(last, tail);
      changed();
    },
    rewritten(last, has) {
      history.rewritten(last, has);
      changed();
    },
    left() {
      history.left();
      changed();
    },
    end(error) {
      ended = error;
      changed();
    },
    get position() {
      return history.position;
    },
    get oriented() {
      return history.kept !== undefined;
    },
    get moving() {
      return history.moving || storing > 0;
    },
    after({ told, kept: keptThen, live }) {
      if (live?.log === history.name && live.at + 1 >= ring.first && live.at < ring.next)
        return { before: [], from: live.at + 1 };
      if (told === history.kept && told === keptThen) return followingPlace(0);
      if (live === undefined || told === keptThen) return followingEvent(told);
      // What was told before it may since have been told in another order.
      const waiting = live.log === history.name ? unkept.find(told) : undefined;
      return waiting !== undefined && waiting.at <= live.at ? followingPlace(waiting.at) : undefined;
    },
    afterKept(last) {
      if (ring.placeOf(last) !== undefined || unkept.find(last) !== undefined) return followingEvent(last);
      return last === history.kept || history.kept === undefined ? followingPlace(0) : undefined;
    },
    at(place) {
      if (place < ring.first) return { kind: "end", error: comeAgain() };
      const entry = ring.at(place);
      if (entry !== undefined) return { kind: "entry", entry };
      return ended === undefined ? { kind: "wait" } : { kind: "end", error: ended };
    },
    listen: listeners.add,
    get revision() {
      return revision;
    },
    get ended() {
      return ended;
    },
    get followed() {
      return listeners.followed;
    },
  };
};
