/** One event as every reader of a session gets it. */
export interface LogEntry {
  /** Its place, as readers name it. */
  readonly id: string;
  readonly type: string;
  /** JSON on one line. */
  readonly data: Buffer;
}

export interface PlacedEntry extends LogEntry {
  /** Its place among all that its log has told. */
  readonly at: number;
}

/** How much is remembered at most; `bytes` of the entries' data. */
export interface EventBounds {
  readonly entries: number;
  readonly bytes: number;
}

/** The latest of what a log has told, by place, without a hole from `first` to `next`; what is too much goes, oldest first. */
export interface EventRing {
  readonly first: number;
  /** The place of what is told next. */
  readonly next: number;
  /** Remembers what is told next; `id`: it counts in the history. */
  keep(entry: PlacedEntry, id?: string): void;
  /** What is told next is not remembered, nor is anything before it. */
  pass(): void;
  /** Forgets all. */
  clear(): void;
  at(place: number): LogEntry | undefined;
  /** Where an event of the history is. */
  placeOf(id: string): number | undefined;
  /** Has an event of the history been here of late? It need not be any more. */
  hasHad(id: string): boolean;
}

export const createEventRing = (bounds: EventBounds): EventRing => {
  const entries = new Map<number, PlacedEntry>();
  /** Of events that count in the history. */
  const places = new Map<string, number>();
  let bytes = 0;
  let first = 1;
  let next = 1;

  const forget = (entry: PlacedEntry): void => {
    entries.delete(entry.at);
    bytes -= entry.data.length;
    first = entry.at + 1;
  };

  const trim = (most: EventBounds): void => {
    for (const entry of entries.values()) {
      if (entries.size <= most.entries && bytes <= most.bytes) break;
      forget(entry);
    }
    for (const [id, at] of places) {
      if (at >= first) break;
      places.delete(id);
    }
  };

  return {
    get first() {
      return first;
    },
    get next() {
      return next;
    },
    keep(entry, id) {
      next = entry.at + 1;
      entries.set(entry.at, entry);
      bytes += entry.data.length;
      trim(bounds);
      if (id !== undefined && entries.has(entry.at)) places.set(id, entry.at);
    },
    pass() {
      first = ++next;
    },
    clear: () => trim({ entries: 0, bytes: 0 }),
    at: (place) => entries.get(place),
    placeOf(id) {
      const place = places.get(id);
      return place !== undefined && place >= first ? place : undefined;
    },
    hasHad: (id) => places.has(id),
  };
};
