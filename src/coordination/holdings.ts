import type { Lease, Leases } from "./leases.ts";

/** A share in a lease of this node. */
export interface Holding {
  /** As of the lease. */
  readonly lost: AbortSignal;
  /** The last one who lets go gives the lease up; a second call does nothing. */
  release(): void;
}

/** Leases that several of this node need at once: there is one for all of them, as long as any needs it. */
export interface Holdings {
  /** Rejects as `Leases.acquire`; waits `waitMs` for another node, which may just be letting go. */
  take(name: string, waitMs?: number): Promise<Holding>;
}

const usualWaitMs = 2_000;

export const createHoldings = (leases: Leases): Holdings => {
  const shared = new Map<string, { readonly lease: Promise<Lease>; count: number }>();

  return {
    async take(name, waitMs = usualWaitMs) {
      let one = shared.get(name);
      if (one === undefined) {
        one = { lease: leases.acquire(name, { waitMs }), count: 0 };
        shared.set(name, one);
      }
      const mine = one;
      const forget = (): void => {
        if (shared.get(name) === mine) shared.delete(name);
      };
      mine.count++;
      const lease = await mine.lease.catch((error: unknown) => {
        forget();
        throw error;
      });
      if (lease.lost.aborted) {
        forget();
        throw lease.lost.reason;
      }
      // Whoever comes after that needs a new one.
      lease.lost.addEventListener("abort", forget, { once: true });
      let released = false;
      return {
        lost: lease.lost,
        release() {
          if (released) return;
          released = true;
          lease.lost.removeEventListener("abort", forget);
          mine.count--;
          if (mine.count > 0) return;
          forget();
          // What it has to say of failures it tells its own way.
          void lease.release();
        },
      };
    },
  };
};
