import type { Clock } from "../kernel/clock.ts";

/** How long a log counts as followed after its last reader has gone. */
const graceMs = 120_000;

/** Who listens to a log, and whether somebody who has gone may still come back. */
export interface LogListeners {
  /** Does anybody listen, or may still come back? */
  readonly followed: boolean;
  add(listener: () => void): () => void;
  notify(): void;
}

export const createLogListeners = (options: {
  readonly clock: Clock;
  /** Nobody listens any more, nor may come back. */
  readonly onQuiet: () => void;
}): LogListeners => {
  const listeners = new Set<() => void>();
  let cancelGrace: (() => void) | undefined;

  return {
    get followed() {
      return listeners.size > 0 || cancelGrace !== undefined;
    },
    add(listener) {
      cancelGrace?.();
      cancelGrace = undefined;
      listeners.add(listener);
      return () => {
        if (!listeners.delete(listener) || listeners.size > 0) return;
        cancelGrace = options.clock.after(graceMs, () => {
          cancelGrace = undefined;
          options.onQuiet();
        });
      };
    },
    notify() {
      for (const listener of [...listeners]) listener();
    },
  };
};
