import { type Clock, systemClock } from "../../src/kernel/clock.ts";

/** The system's clock, with times that a test can put forward. Timers take as long as they take. */
export interface ShiftedClock extends Clock {
  forward(ms: number): void;
}

export const shiftedClock = (): ShiftedClock => {
  let shift = 0;
  return {
    now: () => systemClock.now() + shift,
    monotonic: () => systemClock.monotonic() + shift,
    after: systemClock.after,
    forward(ms) {
      shift += ms;
    },
  };
};
