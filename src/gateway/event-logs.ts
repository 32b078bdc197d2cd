import type { Clock } from "../kernel/clock.ts";
import type { SquadronError } from "../kernel/errors.ts";
import { readStoredEvents, type StoredEvents } from "../sessions/stored-events.ts";
import type { KnownMessage, SessionRow, Store } from "../store/store.ts";
import { sessionDeleted } from "./deleted.ts";
import { createEventLog, type EventLog } from "./event-log.ts";
import type { EventPosition } from "./event-position.ts";
import { type EventReader, openEventReader } from "./event-reader.ts";
import { noLongerPart } from "./session-access.ts";
import { shownEvent } from "./shown-event.ts";
import type { SessionHost } from "./vocabulary.ts";

/** What a log must know of its session. */
type Named = Pick<SessionRow, "id" | "publicId" | "owner">;

/** The logs of what sessions tell, one for each session that is open here or read. */
export interface EventLogs {
  /** The session's log, which stays as long as its host is open. */
  hold(row: Named): EventLog;
  /** Its host is forgotten. */
  release(session: string): void;
  /** It is no more. */
  deleted(session: string): void;
  /** The user takes no part in it any more. */
  expel(session: string, user: string): void;
  /** These are all who take part. */
  keepReaders(session: string, users: ReadonlySet<string>): void;
  /**
   * Opens a way through what the session tells, see `openEventReader`. It wakes no session and keeps none awake. Rejects
   * with `session_deleted` as well, and with `forbidden` when the user takes no part in it any more.
   */
  read(
    row: Named & Pick<SessionRow, "tenant">,
    options: {
      /** Who reads. */
      readonly user: string;
      /** Called when that user takes no part in the session any more: nothing of it may be read from then on. */
      readonly onExpelled: (reason: SquadronError) => void;
      readonly position: EventPosition | undefined;
      readonly listener: () => void;
      readonly signal: AbortSignal;
    },
  ): Promise<EventReader>;
}

/** A log, whether a host tells it, and the reading of its history that began at this revision. */
interface Kept {
  readonly log: EventLog;
  isHeld: boolean;
  readonly readers: Set<{ readonly user: string; expel(): void }>;
  reading: { readonly revision: number; readonly events: Promise<StoredEvents> } | undefined;
}

export const createEventLogs = (options: {
  readonly clock: Clock;
  readonly store: Pick<Store, "sessions" | "state" | "messages">;
  readonly hostOf: (session: string) => SessionHost | undefined;
}): EventLogs => {
  const { clock, store, hostOf } = options;
  const logs = new Map<string, Kept>();

  const forget = (session: string): void => {
    const kept = logs.get(session);
    if (kept !== undefined && !kept.isHeld && !kept.log.followed) logs.delete(session);
  };

  /** An event as clients see it; `known` is of use where the session has no host that knows its messages. */
  const shown = (row: Named, event: unknown, known: ReadonlyMap<string, KnownMessage>): unknown =>
    shownEvent(event, row, (message) => hostOf(row.id)?.messages.get(message) ?? known.get(message));

  const of = (row: Named): Kept => {
    const found = logs.get(row.id);
    if (found !== undefined) return found;
    const log = createEventLog({
      clock,
      show: (event) => shown(row, event, new Map()),
      onQuiet: () => forget(row.id),
    });
    const made: Kept = { log, isHeld: false, reading: undefined, readers: new Set() };
    logs.set(row.id, made);
    return made;
  };

  /** Readers that come together, as after a restart of the node, have the history read once. */
  const readTogether = async (session: string, kept: Kept): Promise<StoredEvents> => {
    const { revision } = kept.log;
    if (kept.reading?.revision !== revision)
      kept.reading = { revision, events: readStoredEvents(store, session) };
    const mine = kept.reading;
    try {
      return await mine.events;
    } finally {
      if (kept.reading === mine) kept.reading = undefined;
    }
  };

  const expelThose = (session: string, which: (user: string) => boolean): void => {
    for (const reader of [...(logs.get(session)?.readers ?? [])]) if (which(reader.user)) reader.expel();
  };

  return {
    hold(row) {
      const kept = of(row);
      kept.isHeld = true;
      return kept.log;
    },
    release(session) {
      const kept = logs.get(session);
      if (kept !== undefined) kept.isHeld = false;
      forget(session);
    },
    deleted(session) {
      logs.get(session)?.log.end(sessionDeleted());
      logs.delete(session);
    },
    expel: (session, user) => expelThose(session, (reader) => reader === user),
    keepReaders: (session, users) => expelThose(session, (reader) => !users.has(reader)),
    async read(row, { user, onExpelled, position, listener, signal }) {
      const kept = of(row);
      const expelled = new AbortController();
      const entry = {
        user,
        expel(): void {
          const reason = noLongerPart();
          expelled.abort(reason);
          onExpelled(reason);
        },
      };
      kept.readers.add(entry);
      let known: ReadonlyMap<string, KnownMessage> = new Map();
      const reader = await openEventReader({
        log: kept.log,
        position,
        listener,
        signal: AbortSignal.any([signal, expelled.signal]),
        async readStored() {
          const stored = await readTogether(row.id, kept);
          // In this order: nothing is in the history of which it is not known.
          known = await store.messages.of(row.id);
          return stored;
        },
        show: (event) => shown(row, event, known),
      }).catch((error: unknown) => {
        kept.readers.delete(entry);
        throw error;
      });
      const close = (): void => {
        kept.readers.delete(entry);
        reader.close();
      };
      // The log of a session that is deleted after this is ended, and a reader who is removed is expelled.
      const found = await store.sessions.byPublicId(row.publicId, row.tenant, user);
      if (found !== undefined && !expelled.signal.aborted) return { ...reader, close };
      close();
      throw (await store.sessions.byId(row.id)) === undefined ? sessionDeleted() : noLongerPart();
    },
  };
};
