import { SquadronError } from "../src/kernel/errors.ts";

/** Named places at which replies wait until a test lets them go on. */
export interface Holds {
  /** Waits for `release(name)`; rejects with `cancelled` when the signal aborts. */
  wait(name: string, signal: AbortSignal): Promise<void>;
  /** Lets all replies go on that are held under this name now; returns how many there were. */
  release(name: string): number;
  /** How many replies are held under this name now. */
  count(name: string): number;
}

export const createHolds = (): Holds => {
  const waiting = new Map<string, Set<() => void>>();
  return {
    wait: async (name, signal) => {
      const { promise, resolve, reject } = Promise.withResolvers<void>();
      const cancel = () => reject(new SquadronError("cancelled", `The hold ${name} was cancelled.`));
      const held = waiting.get(name) ?? new Set();
      waiting.set(name, held.add(resolve));
      signal.addEventListener("abort", cancel, { once: true });
      if (signal.aborted) cancel();
      try {
        await promise;
      } finally {
        signal.removeEventListener("abort", cancel);
        held.delete(resolve);
        if (held.size === 0 && waiting.get(name) === held) waiting.delete(name);
      }
    },
    release: (name) => {
      const held = [...(waiting.get(name) ?? [])];
      waiting.delete(name);
      for (const letGo of held) letGo();
      return held.length;
    },
    count: (name) => waiting.get(name)?.size ?? 0,
  };
};
