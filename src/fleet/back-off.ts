import { LRUCache } from "lru-cache";
import type { Clock } from "../kernel/clock.ts";

const pause = { firstMs: 100, longestMs: 5_000 };
/** A unit whose runtime has lived so long, or that has not failed for so long, begins anew. */
const stableMs = 60_000;
const units = 1_000;

/** Longest wait that a unit is given. */
export const longestBackOffMs = pause.longestMs;

/** Units whose runtimes fail to start, or die soon after: each next start waits twice as long. */
export interface BackOff {
  failed(unitKey: string): void;
  /** The unit's runtime ended by itself after so long. */
  died(unitKey: string, livedMs: number): void;
  /** When a start may be tried, monotonic; undefined: now. */
  retryAt(unitKey: string): number | undefined;
}

export const createBackOff = (clock: Clock): BackOff => {
  const failures = new LRUCache<
    string,
    { readonly count: number; readonly at: number; readonly retryAt: number }
  >({
    max: units,
  });
  const failed = (unitKey: string): void => {
    const at = clock.monotonic();
    const before = failures.get(unitKey);
    const count = before === undefined || at - before.at > stableMs ? 1 : before.count + 1;
    const pauseMs = Math.min(pause.firstMs * 2 ** (count - 1), pause.longestMs);
    failures.set(unitKey, { count, at, retryAt: at + pauseMs });
  };
  return {
    failed,
    died(unitKey, livedMs) {
      if (livedMs < stableMs) failed(unitKey);
    },
    retryAt(unitKey) {
      const retryAt = failures.get(unitKey)?.retryAt;
      return retryAt === undefined || retryAt <= clock.monotonic() ? undefined : retryAt;
    },
  };
};
