import type { Holding, Holdings } from "../coordination/holdings.ts";

/** This node's right to have a session in a runtime: taken before it wakes, given up when it sleeps. */
export interface SessionLease {
  /** Rejects as `Holdings.take`. False, and nothing happens, if it is held. */
  take(): Promise<boolean>;
  /** Throws `fenced` if it has been lost since it was taken. */
  check(): void;
  giveUp(): void;
}

export const createSessionLease = (options: {
  readonly holdings: Holdings;
  readonly name: string;
  /** It was lost, and not given up. */
  readonly onLost: () => void;
}): SessionLease => {
  const { holdings, name, onLost } = options;
  let holding: Holding | undefined;

  const giveUp = (): void => {
    holding?.lost.removeEventListener("abort", onLost);
    holding?.release();
    holding = undefined;
  };

  return {
    async take() {
      if (holding?.lost.aborted) giveUp();
      if (holding !== undefined) return false;
      holding = await holdings.take(name);
      holding.lost.addEventListener("abort", onLost, { once: true });
      return true;
    },
    check: () => holding?.lost.throwIfAborted(),
    giveUp,
  };
};
