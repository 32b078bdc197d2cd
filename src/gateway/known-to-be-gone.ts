import type { Runtime } from "../fleet/fleet.ts";
import type { Clock } from "../kernel/clock.ts";

/** Longest wait for the end of a process whose pipe has broken. */
const endWithinMs = 1_500;

/** A pipe breaks a moment before the process has ended; until then the unit would get the same one again. */
export const knownToBeGone = async ({ closed }: Runtime, clock: Clock): Promise<void> => {
  const { promise: late, resolve } = Promise.withResolvers<void>();
  const cancel = clock.after(endWithinMs, resolve);
  await Promise.race([closed, late]).finally(cancel);
};
