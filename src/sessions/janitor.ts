import type { Clock } from "../kernel/clock.ts";
import type { OwnedSession, SessionUse, Store } from "../store/store.ts";
import type { Log } from "../telemetry/log.ts";

/** How long sessions may lie unused, in milliseconds; a session's own limit goes before these. */
export interface TimesToLive {
  readonly defaultMs: number;
  readonly tenants: Readonly<Record<string, number>>;
}

export interface PruneOptions {
  /** Only this tenant's. */
  readonly tenant?: string;
  /** Instead of the tenants' own times, milliseconds. */
  readonly unusedForMs?: number;
  /** Only say what would go. */
  readonly dryRun: boolean;
  /** Looks at so many at most. */
  readonly limit: number;
}

export interface Pruned {
  /** What is gone, or would go. */
  readonly sessions: readonly OwnedSession[];
  /** Past their time, but somebody has them open or they work: that counts as a use. */
  readonly inUse: number;
  /** Could not be deleted; the log has the reasons. */
  readonly failed: number;
  /** Were there more than the limit? */
  readonly more: boolean;
}

/** Deletes what nobody has used for as long as its time to live, a few at a time, never what is in use. */
export interface Janitor {
  /** Rejects with `store_unavailable`. */
  prune(options: PruneOptions): Promise<Pruned>;
  /** Ends the periodic runs; resolves when a running one has ended. */
  close(): Promise<void>;
}

/** Between two runs, give or take a quarter, so that several nodes do not run at once. */
const everyMs = 10 * 60_000;
/** Between two batches of one run: others want to use the store too. */
const pauseMs = 1_000;
const batch = 100;

export const createJanitor = (options: {
  readonly clock: Clock;
  readonly store: Store;
  readonly log: Log;
  readonly timesToLive: TimesToLive;
  /** How long the keys of requests are remembered. */
  readonly requestKeysMs: number;
  /** Between 0 and 1. */
  readonly random?: () => number;
  /** Writes down what is known of the use of sessions. */
  readonly noteUses: () => Promise<void>;
  /** Is anybody attached to it, or does it work? */
  readonly inUse: (sessionId: string) => boolean;
  /** Deletes it unless it is in use by now; false then. */
  readonly remove: (session: OwnedSession) => Promise<boolean>;
}): Janitor => {
  const { clock, store, log, timesToLive, noteUses, inUse, remove, random = Math.random } = options;
  const { promise: closing, resolve: beginClosing } = Promise.withResolvers<void>();
  let cancelTimer = (): void => {};
  let running: Promise<void> = Promise.resolve();
  let closed = false;

  const prune: Janitor["prune"] = async ({ tenant, unusedForMs, dryRun, limit }) => {
    await noteUses();
    const now = clock.now();
    const found = await store.sessions.expired({
      now,
      defaultTtlMs: unusedForMs ?? timesToLive.defaultMs,
      tenantTtlMs: unusedForMs === undefined ? timesToLive.tenants : {},
      limit: limit + 1,
      ...(tenant !== undefined && { tenant }),
    });
    const gone: OwnedSession[] = [];
    const uses: SessionUse[] = [];
    let failed = 0;
    for (const session of found.slice(0, limit)) {
      if (closed) break;
      const { id } = session;
      try {
        if (!inUse(id) && (dryRun || (await remove(session)))) gone.push(session);
        else uses.push({ id, at: now, inputTokens: 0, outputTokens: 0 });
      } catch (error) {
        failed++;
        log.warn({ session: id, error }, "a session past its time could not be deleted");
      }
    }
    if (!dryRun && uses.length > 0) await store.sessions.used(uses);
    return { sessions: gone, inUse: uses.length, failed, more: found.length > limit };
  };

  const pause = (): Promise<void> => {
    const { promise, resolve } = Promise.withResolvers<void>();
    const cancel = clock.after(pauseMs, resolve);
    return Promise.race([promise, closing]).finally(cancel);
  };

  const sweep = async (): Promise<void> => {
    await store.state.removeOrphans(batch);
    while (
      (await store.requestKeys.removeBefore(clock.now() - options.requestKeysMs, batch)) === batch &&
      !closed
    )
      await pause();
    while ((await store.browserSessions.removeExpired(clock.now(), batch)) === batch && !closed)
      await pause();
    while (!closed) {
      const { sessions, inUse, more } = await prune({ dryRun: false, limit: batch });
      if (sessions.length > 0) log.info({ count: sessions.length }, "sessions past their time were deleted");
      // What could not be deleted would be found again at once.
      if (!more || sessions.length + inUse === 0) return;
      await pause();
    }
  };

  const schedule = (): void => {
    if (closed) return;
    cancelTimer = clock.after(everyMs * (0.75 + random() / 2), () => {
      running = sweep()
        .catch((error) => log.error({ error }, "the janitor could not do its work"))
        .finally(schedule);
    });
  };
  schedule();

  return {
    prune,
    async close() {
      closed = true;
      beginClosing();
      cancelTimer();
      await running;
    },
  };
};
