import type { Clock } from "../kernel/clock.ts";
import type { RuntimeLife } from "./runtime.ts";

/** A spare that has been taken is replaced a little later, when who took it has had the processor. */
const refillMs = 250;
const pause = { firstMs: 250, longestMs: 30_000 };

/** Runtimes that have been started and wait for a unit. */
export interface Spares {
  /** One that has answered, or else one that is about to. */
  take(): RuntimeLife | undefined;
  /** To be called when there may be more or less room than before. */
  adjust(): void;
  /** Starts none any more. */
  close(): void;
}

export const createSpares = (options: {
  readonly clock: Clock;
  /** How many there should be now. */
  readonly wanted: () => number;
  /** Throws if none may be started now. */
  readonly start: () => RuntimeLife;
  readonly onStopFailure: (error: unknown) => void;
}): Spares => {
  const { clock, wanted } = options;
  const lives = new Set<RuntimeLife>();
  let failures = 0;
  let timer: (() => void) | undefined;
  let closed = false;

  const isStarting = ({ life }: RuntimeLife): boolean => life.state === "starting";

  const later = (ms: number): void => {
    if (closed) return;
    timer ??= clock.after(ms, () => {
      timer = undefined;
      adjust();
    });
  };

  const retry = (): void => later(Math.min(pause.firstMs * 2 ** failures, pause.longestMs));

  const add = (): void => {
    let life: RuntimeLife;
    try {
      life = options.start();
    } catch {
      // No start is allowed now; who refused it has said why.
      retry();
      return;
    }
    lives.add(life);
    life.gone.then(() => {
      if (lives.delete(life)) later(refillMs);
    });
    life.answered.then(
      () => {
        failures = 0;
        adjust();
      },
      () => {
        if (!lives.delete(life)) return;
        failures += 1;
        retry();
      },
    );
  };

  const adjust = (): void => {
    if (closed) return;
    const count = wanted();
    // The ones that are furthest from being of use go first.
    for (const life of [...lives].reverse().slice(0, Math.max(0, lives.size - count))) {
      lives.delete(life);
      life.stop("surplus").catch(options.onStopFailure);
    }
    // One after the other: they are for later, and others may be starting for now.
    if (lives.size < count && timer === undefined && ![...lives].some(isStarting)) add();
  };

  return {
    take() {
      const waiting = [...lives].filter(({ life }) => life.state === "spare" || life.state === "starting");
      const life = waiting.find((one) => !isStarting(one)) ?? waiting[0];
      if (life === undefined) return undefined;
      lives.delete(life);
      later(refillMs);
      return life;
    },
    adjust,
    close() {
      closed = true;
      timer?.();
    },
  };
};
