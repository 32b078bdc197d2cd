import { nextOrder, noOrder } from "./event-position.ts";
import type { PlacedEntry } from "./event-ring.ts";

/** An event of the history that has been told and is not stored yet. */
export interface UnkeptEvent {
  readonly id: string;
  readonly at: number;
  /** Undefined when there were too many to remember it. */
  readonly entry: PlacedEntry | undefined;
  /** Has what was told after it been stored before it? */
  readonly deferred?: true;
}

/** What a session has told of its history and has not stored yet, in the order in which it was told. */
export interface UnkeptEvents {
  readonly list: readonly UnkeptEvent[];
  /** Stands for that order, see `EventPosition`. */
  readonly order: string;
  /** Takes in one more; `tell` gives it its place when the order has it. */
  add(id: string, tell: () => PlacedEntry): void;
  find(id: string): UnkeptEvent | undefined;
  /** Those before this index are stored, or have not happened. */
  dropTo(index: number): void;
  clear(): void;
  /** Other events that were told after these have been stored before them. */
  defer(): void;
}

/** `maxBytes`: of the data of those that are remembered; of others only their ids are. */
export const createUnkeptEvents = (maxBytes: number): UnkeptEvents => {
  let events: UnkeptEvent[] = [];
  let bytes = 0;
  let order = noOrder;

  const set = (left: UnkeptEvent[]): void => {
    events = left;
    bytes = left.reduce((sum, { entry }) => sum + (entry?.data.length ?? 0), 0);
    order = left.reduce((before, { id }) => nextOrder(before, id), noOrder);
  };

  return {
    get list() {
      return events;
    },
    get order() {
      return order;
    },
    add(id, tell) {
      order = nextOrder(order, id);
      const entry = tell();
      bytes += entry.data.length;
      events.push({ id, at: entry.at, entry: bytes <= maxBytes ? entry : undefined });
    },
    find: (id) => events.find((one) => one.id === id),
    dropTo: (index) => set(events.slice(index)),
    clear: () => set([]),
    defer() {
      events = events.map((one) => ({ ...one, deferred: true }));
    },
  };
};
