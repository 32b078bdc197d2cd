import type { Clock } from "../kernel/clock.ts";
import type { OwnedSession, Store } from "../store/store.ts";
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
  /** At most so many. */
  readonly limit: number;
}

export interface Pruned {
  readonly sessions: readonly OwnedSession[];
  /** Were there more than the limit? */
  readonly more: boolean;
}

/** Deletes what nobody has used for as long as its time to live, a few at a time, never what is in use. */
export interface Janitor {
  prune(options: PruneOptions): Promise<Pruned>;
  /** Ends the periodic runs; resolves when a running one has ended. */
  close(): Promise<void>;
}

/** Between two runs, give or take a quarter, so that several nodes do not run at once. */
const everyMs = 10 * 60_000;
const batch = 100;

export const createJanitor = (options: {
  readonly clock: Clock;
  readonly store: Store;
  readonly log: Log;
  readonly timesToLive: TimesToLive;
  /** Between 0 and 1. */
  readonly random?: () => number;
  /** Is anybody attached to it, or does it work? */
  readonly inUse: (sessionId: string) => boolean;
  /** Deletes it unless it is in use by now; false then. */
  readonly remove: (session: OwnedSession) => Promise<boolean>;
}): Janitor => {
  const { clock, store, log, timesToLive, inUse, remove, random = Math.random } = options;
  let cancelTimer = (): void => {};
  let running: Promise<void> = Promise.resolve();
  let closed = false;

  const prune: Janitor["prune"] = async ({ tenant, unusedForMs, dryRun, limit }) => {
    const found = await store.sessions.expired({
      now: clock.now(),
      defaultTtlMs: unusedForMs ?? timesToLive.defaultMs,
      tenantTtlMs: unusedForMs === undefined ? timesToLive.tenants : {},
      limit: limit + 1,
      ...(tenant !== undefined && { tenant }),
    });
    const gone: OwnedSession[] = [];
    for (const session of found.slice(0, limit)) {
      if (closed) break;
      if (inUse(session.id)) continue;
      if (dryRun || (await remove(session))) gone.push(session);
    }
    return { sessions: gone, more: found.length > limit };
  };

  const sweep = async (): Promise<void> => {
    for (;;) {
      const { sessions, more } = await prune({ dryRun: false, limit: batch });
      if (sessions.length > 0) log.info({ count: sessions.length }, "sessions past their time were deleted");
      // What is in use would be found again at once.
      if (!more || sessions.length === 0 || closed) break;
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
      cancelTimer();
      await running;
    },
  };
};
