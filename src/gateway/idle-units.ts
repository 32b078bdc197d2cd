import type { Fleet } from "../fleet/fleet.ts";
import type { Clock } from "../kernel/clock.ts";
import type { Unit } from "../kernel/isolation.ts";
import type { Log } from "../telemetry/log.ts";

/** Ends runtimes that hold no session any more: at once when a runtime is for one session, else after a while of idleness. */
export interface IdleUnits {
  /** A session of this unit has left its runtime. */
  left(unit: Unit, idleMs: number): Promise<void>;
}

export const createIdleUnits = (options: {
  readonly clock: Clock;
  readonly fleet: Fleet;
  readonly log: Log;
  /** Does any session of this unit hold a runtime now? */
  readonly inUse: (unitKey: string) => boolean;
}): IdleUnits => {
  const { clock, fleet, log, inUse } = options;
  const waiting = new Map<string, () => void>();

  const release = async ({ key }: Unit): Promise<void> => {
    if (!inUse(key)) await fleet.release(key);
  };

  return {
    async left(unit, idleMs) {
      waiting.get(unit.key)?.();
      waiting.delete(unit.key);
      if (inUse(unit.key)) return;
      if (unit.isolation === "session") return release(unit);
      const cancel = clock.after(idleMs, () => {
        waiting.delete(unit.key);
        // A runtime that is only just starting has somebody waiting for it.
        if (fleet.find(unit.key) === undefined) return;
        release(unit).catch((error) =>
          log.warn({ unit: unit.key, error }, "an idle runtime could not be ended"),
        );
      });
      waiting.set(unit.key, cancel);
    },
  };
};
