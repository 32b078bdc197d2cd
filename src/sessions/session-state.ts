import type { Runtime } from "../fleet/fleet.ts";
import type { Clock } from "../kernel/clock.ts";
import { SquadronError } from "../kernel/errors.ts";
import type { Commit, Store, TurnEnd } from "../store/store.ts";
import type { FileBounds } from "./file-bounds.ts";
import { type HistoryWatch, tellRestored, tellStored } from "./history-watch.ts";
import { sessionRoots } from "./roots.ts";
import type { UnitStates } from "./unit-state.ts";
import { openWorkingCopy, removeRoots, restoreFiles, type WorkingCopy } from "./working-copy.ts";

/**
 * A session's files between the store, which holds what has happened, and the private disk of a runtime's box, which
 * is a cache. One call at a time; later ones wait.
 */
export interface SessionState {
  /** The last one in which the session was taken out of the store here. */
  readonly epoch: number | undefined;
  /**
   * Has anybody else had the session since it was here last? What is known of it is old then. To be asked by the holder
   * of its lease. Rejects with `session_deleted`.
   */
  moved(): Promise<boolean>;
  /** Puts the files where the runtime looks for them, in a new epoch, unless they lie there as committed. */
  restore(runtime: Runtime): Promise<void>;
  /**
   * Stores what has changed since the last commit, the record too, together with the ends of turns. Rejects with `fenced` when another
   * holder has a newer epoch, `too_large`, `runtime_gone` or `store_unavailable`; nothing is stored then.
   */
  commit(turns?: readonly TurnEnd[]): Promise<void>;
  /** The session leaves its runtime's memory: what is on the disk beyond the last commit has not happened. */
  leave(): void;
  /** What lies on the runtime's disk counts no more: the next restore begins from the store. */
  discard(): void;
  /** Resolves when none of the calls before it is going on. */
  quiet(): Promise<void>;
}

/** Points of commit and wake at which a test may let the process die. */
export type StatePoint =
  | "restore.begun"
  | "restore.acquired"
  | "restore.written"
  | "commit.begun"
  | "commit.read"
  | "commit.stored";

/** A record to be stored; it counts as stored only when `accept` is called. */
export interface PendingRecord {
  readonly patch: Omit<NonNullable<Commit["record"]>, "at">;
  accept(): void;
}

/** What is known of messages and is to be stored; it counts as stored only when `accept` is called. */
export interface PendingMessages {
  readonly messages: NonNullable<Commit["messages"]>;
  accept(): void;
}

interface Place {
  readonly runtime: Runtime;
  readonly copy: WorkingCopy;
  readonly epoch: number;
  version: number;
}

/** Stores the files of a session that a runtime has made by itself, such as a fork. */
export const storeMade = async (options: {
  readonly store: Store;
  readonly clock: Clock;
  readonly runtime: Runtime;
  readonly session: string;
  readonly bounds: FileBounds;
}): Promise<void> => {
  const { store, clock, runtime, session, bounds } = options;
  const taken = await store.state.acquire(session, clock.now());
  if (taken === undefined) throw new SquadronError("session_deleted", "The session has been deleted.");
  const { files } = await openWorkingCopy({ roots: sessionRoots(runtime, session), bounds }).changes();
  await store.state.commit({ sessionId: session, ...taken, files, maxBytes: bounds.maxBytes });
};

/** Removes what the box of a runtime has of a session that is no more. */
export const eraseFrom = (runtime: Runtime, session: string): Promise<void> =>
  removeRoots(sessionRoots(runtime, session));

export const createSessionState = (options: {
  readonly store: Store;
  readonly clock: Clock;
  readonly units: UnitStates;
  readonly session: string;
  readonly bounds: FileBounds;
  /** Turns that are still to be given to a runtime: they are this holder's, though it has noted them as begun. */
  readonly toRun: () => readonly string[];
  /** What the record has become since it was stored last, which a commit carries. */
  readonly record: () => PendingRecord | undefined;
  /** What has become known of messages since the last commit, which a commit carries. */
  readonly messages: () => PendingMessages | undefined;
  /** Another holder has the newest epoch: nothing was stored. */
  readonly onFenced: () => void;
  readonly watch: HistoryWatch;
  readonly at?: (point: StatePoint) => void;
}): SessionState => {
  const { store, clock, units, session, bounds, watch, at = () => undefined } = options;
  let place: Place | undefined;
  /** Where the session was last, if its files are still there. */
  let left: Place | undefined;
  let epoch: number | undefined;
  let hasHistory = false;
  let last: Promise<unknown> = Promise.resolve();

  const inOrder = <T>(work: () => Promise<T>): Promise<T> => {
    const done = last.then(work);
    last = done.catch(() => undefined);
    return done;
  };

  const store_ = async (here: Place, turns: readonly TurnEnd[], unit: Commit["unit"]): Promise<void> => {
    const changes = await here.copy.changes();
    // The disk is removed only after the runtime is known to be gone: what was read before that is whole.
    if (here.runtime.gone)
      throw new SquadronError("runtime_gone", "The runtime ended before its work was stored.");
    at("commit.read");
    const record = options.record();
    if (changes.files.length === 0 && turns.length === 0 && unit === undefined && record === undefined)
      return;
    const messages = options.messages();
    const over = watch.storing();
    try {
      const stored = await store.state.commit({
        sessionId: session,
        epoch: here.epoch,
        version: here.version,
        files: changes.files,
        maxBytes: bounds.maxBytes,
        ...(unit !== undefined && { unit }),
        ...(record !== undefined && { record: { ...record.patch, at: clock.now() } }),
        ...(messages !== undefined && { messages: messages.messages }),
        turns,
      });
      hasHistory = tellStored(watch, changes.files, hasHistory);
      changes.accept();
      record?.accept();
      messages?.accept();
      here.version = stored.version;
    } catch (error) {
      if (error instanceof SquadronError && error.code === "fenced") {
        if (place === here) place = undefined;
        options.onFenced();
      }
      throw error;
    } finally {
      over();
    }
    at("commit.stored");
  };

  const deleted = (): SquadronError => new SquadronError("session_deleted", "The session has been deleted.");

  return {
    get epoch() {
      return epoch;
    },
    moved: () =>
      inOrder(async () => {
        const newest = await store.state.newest(session);
        if (newest === undefined) throw deleted();
        if (newest.epoch === epoch) return false;
        place = undefined;
        left = undefined;
        return true;
      }),
    restore: (runtime) =>
      inOrder(async () => {
        if (place?.runtime === runtime) return;
        at("restore.begun");
        place = undefined;
        const here = left;
        left = undefined;
        // Nobody else has had it since, or else what is done here will not be stored.
        if (here?.runtime === runtime && (await here.copy.takeBack())) {
          at("restore.written");
          watch.left();
          place = here;
          return;
        }
        const taken = await store.state.acquire(session, clock.now(), options.toRun);
        if (taken === undefined) throw deleted();
        epoch = taken.epoch;
        at("restore.acquired");
        const files = await store.state.files({ kind: "session", id: session });
        hasHistory = tellRestored(watch, files);
        const copy = await restoreFiles({
          roots: sessionRoots(runtime, session),
          files,
          bounds,
          owner: runtime.owner,
        });
        at("restore.written");
        place = { runtime, copy, ...taken };
      }),
    commit: (turns = []) =>
      inOrder(async () => {
        const here = place;
        if (here === undefined)
          throw new SquadronError("runtime_gone", "The runtime ended before its work was stored.");
        at("commit.begun");
        await units.carry(here.runtime, (unit) => store_(here, turns, unit));
      }),
    leave() {
      left = place;
      place = undefined;
    },
    discard() {
      place = undefined;
      left = undefined;
    },
    quiet: () => last.then(() => undefined),
  };
};
