import { setImmediate as breathe } from "node:timers/promises";

/** Between two chances for others to run: so many steps, or so many milliseconds, whichever is over first. */
const stepsAtOnce = 64;
const atOnceMs = 4;

/** Bytes for one go: a millisecond or two of reading, hashing or writing. */
export const bytesAtOnce = 2 ** 20;

/** Bytes that take as long as a step takes by itself. */
const bytesOfStep = bytesAtOnce / 32;

/**
 * Called between the short steps of long synchronous work, with the bytes that the next one is about: now and then it
 * waits until others of this process have run.
 */
export type Pace = (bytes?: number) => Promise<void> | undefined;

/** `now` is milliseconds that never go back. */
export const createPace = (now: () => number = () => performance.now()): Pace => {
  let steps = 0;
  let since = now();
  const rest = async (): Promise<void> => {
    await breathe();
    steps = 0;
    since = now();
  };
  return (bytes = 0) => {
    steps += 1 + Math.floor(bytes / bytesOfStep);
    return steps < stepsAtOnce && now() - since < atOnceMs ? undefined : rest();
  };
};
