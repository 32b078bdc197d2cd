import type { Fleet, Runtime } from "../fleet/fleet.ts";
import type { Residence } from "./residence.ts";
import type { SessionStay } from "./session-stay.ts";

/** Where a session's turns pass into the runtime of its unit, one at a time, and out of it again. */
export interface TurnGate {
  /** Does a turn wait here until its unit's runtime has been emptied? Nothing of it has begun then. */
  readonly holding: boolean;
  /** Waits until a turn may begin. */
  pass(): Promise<void>;
  /** The runtime is given a turn's first message. */
  entered(runtime: Runtime): void;
  /** That turn has ended. */
  left(): void;
}

export const createTurnGate = (options: {
  readonly unitKey: string;
  readonly residence: Pick<Residence, "mayBegin">;
  readonly fleet: Pick<Fleet, "turnBegan">;
  readonly stay: Pick<SessionStay, "leaving" | "idleAgain">;
}): TurnGate => {
  const { unitKey, residence, fleet, stay } = options;
  let holding = false;
  /** Tells the fleet that the turn which runs there has ended. */
  let endInRuntime: (() => void) | undefined;

  return {
    get holding() {
      return holding;
    },
    async pass() {
      const open = residence.mayBegin(unitKey);
      const { leaving } = stay;
      if (open === undefined && leaving === undefined) return;
      holding = true;
      try {
        stay.idleAgain();
        await Promise.all([open, leaving]);
      } finally {
        holding = false;
      }
    },
    entered(runtime) {
      endInRuntime ??= fleet.turnBegan(runtime);
    },
    left() {
      endInRuntime?.();
      endInRuntime = undefined;
    },
  };
};
