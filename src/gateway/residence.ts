import type { Fleet, Runtime } from "../fleet/fleet.ts";
import type { Clock } from "../kernel/clock.ts";
import type { Log } from "../telemetry/log.ts";

/** A session in a runtime, as far as the end of that runtime is concerned. */
export interface Lodger {
  readonly runtime: Runtime | undefined;
  /** May it be sent to sleep now, with nobody noticing? */
  readonly evictable: boolean;
  readonly lastUsedAt: number;
  /** Sends it to sleep without a word to its runtime, which is about to be killed; false if it has work again. */
  abandon(): Promise<boolean>;
}

/**
 * Ends runtimes, always in the same way: their sessions go to sleep as each becomes idle, then the process is killed.
 * An empty one is killed when it has been empty for a while, at once if it is for one session.
 */
export interface Residence {
  /** A session has left this runtime. */
  left(runtime: Runtime, idleMs: number): void;
  /** A session has become idle. */
  settled(runtime: Runtime): void;
  /** The runtime is worn out. */
  recycle(runtime: Runtime): void;
  /** While the unit's only runtime is being emptied, no turn begins in it: resolves when one may. Undefined: now. */
  mayBegin(unitKey: string): Promise<void> | undefined;
  /** Kills the least recently used runtime whose sessions are all idle; false if there is none. */
  freeOne(): Promise<boolean>;
  closed(runtime: Runtime): void;
}

/** How long turns of a unit wait for the running ones to end, and after how long that is tried again. */
const settleMs = 5_000;
const againMs = 60_000;

export const createResidence = (options: {
  readonly clock: Clock;
  readonly fleet: Fleet;
  readonly log: Log;
  readonly lodgersOf: (runtime: Runtime) => readonly Lodger[];
}): Residence => {
  const { clock, fleet, log, lodgersOf } = options;
  const idle = new Map<string, () => void>();
  /** Runtimes that take no new session; sessions may go on elsewhere beside them. */
  const retiring = new Set<Runtime>();
  /** Units whose turns wait until their runtime is empty. */
  const gates = new Map<string, { readonly runtime: Runtime; readonly open: Promise<void>; lift(): void }>();
  const triedAt = new Map<string, number>();

  const failed = (runtime: Runtime, error: unknown): void =>
    log.warn({ runtime: runtime.id, error }, "a runtime could not be ended");

  const report = (work: Promise<unknown>, runtime: Runtime): void => {
    work.catch((error) => failed(runtime, error));
  };

  /** Sends all to sleep and kills the process, if none of them works. */
  const end = async (runtime: Runtime): Promise<boolean> => {
    const lodgers = lodgersOf(runtime);
    if (!lodgers.every(({ evictable }) => evictable)) return false;
    for (const lodger of lodgers) if (!(await lodger.abandon())) return false;
    if (lodgersOf(runtime).length > 0) return false;
    // The fleet does not count a process that cannot be killed: its place is free.
    await runtime
      .kill()
      .catch((error) => log.warn({ runtime: runtime.id, error }, "a runtime could not be ended"));
    return true;
  };

  /** Two runtimes of one unit at once would be two copies of its files; where several users share it nobody changes those. */
  const mayOverlap = ({ unit }: Runtime): boolean =>
    unit.isolation === "shared" || unit.isolation === "tenant";

  const clear = async (runtime: Runtime): Promise<void> => {
    for (const lodger of lodgersOf(runtime))
      if (lodger.evictable) await lodger.abandon().catch((error) => failed(runtime, error));
    await end(runtime);
  };

  return {
    left(runtime, idleMs) {
      idle.get(runtime.id)?.();
      idle.delete(runtime.id);
      if (lodgersOf(runtime).length > 0) return;
      if (retiring.has(runtime) || gates.get(runtime.unit.key)?.runtime === runtime)
        return report(end(runtime), runtime);
      const wait = runtime.unit.isolation === "session" ? 0 : idleMs;
      idle.set(
        runtime.id,
        clock.after(wait, () => {
          idle.delete(runtime.id);
          if (lodgersOf(runtime).length === 0) report(end(runtime), runtime);
        }),
      );
    },
    settled(runtime) {
      if (retiring.has(runtime)) report(clear(runtime), runtime);
      else if (gates.get(runtime.unit.key)?.runtime === runtime) report(end(runtime), runtime);
    },
    recycle(runtime) {
      const { key } = runtime.unit;
      if (retiring.has(runtime) || gates.has(key)) return;
      if (mayOverlap(runtime)) {
        if (!fleet.retire(runtime)) return;
        retiring.add(runtime);
        return report(clear(runtime), runtime);
      }
      const tried = triedAt.get(runtime.id);
      if (tried !== undefined && clock.monotonic() - tried < againMs) return;
      triedAt.set(runtime.id, clock.monotonic());
      const { promise: open, resolve } = Promise.withResolvers<void>();
      const cancel = clock.after(settleMs, () => gates.get(key)?.lift());
      const lift = (): void => {
        cancel();
        gates.delete(key);
        resolve();
      };
      gates.set(key, { runtime, open, lift });
      report(end(runtime), runtime);
    },
    mayBegin: (unitKey) => gates.get(unitKey)?.open,
    async freeOne() {
      const lastUse = (runtime: Runtime): number =>
        Math.max(0, ...lodgersOf(runtime).map(({ lastUsedAt }) => lastUsedAt));
      const oldestFirst = fleet
        .runtimes()
        .filter((runtime) => !retiring.has(runtime))
        .filter((runtime) => lodgersOf(runtime).every(({ evictable }) => evictable))
        .sort((one, other) => lastUse(one) - lastUse(other));
      for (const runtime of oldestFirst) {
        try {
          if (await end(runtime)) return true;
        } catch (error) {
          // Whoever needs one is not to suffer from a session that cannot be stored.
          failed(runtime, error);
        }
      }
      return false;
    },
    closed(runtime) {
      idle.get(runtime.id)?.();
      idle.delete(runtime.id);
      retiring.delete(runtime);
      triedAt.delete(runtime.id);
      const gate = gates.get(runtime.unit.key);
      if (gate?.runtime === runtime) gate.lift();
    },
  };
};
