import type { Clock } from "../kernel/clock.ts";

/** A runtime tells the end of a turn up to some 10 ms after it counts itself as idle; more when the machine is busy. */
const askEveryMs = 1_000;

/**
 * Asks again and again whether a runtime still does what it may never tell the end of. When it does nothing at two
 * times in turn, the end is lost. Returns how to stop.
 */
export const watchEnd = (options: {
  readonly clock: Clock;
  /** Is the end still to come, and still in doubt? */
  readonly isDoubtful: () => boolean;
  /** Rejects when the runtime cannot say so now; if it has gone, that ends what it did. */
  readonly isProcessing: () => Promise<boolean>;
  /** Makes an end of it. It is called again, a while later, if it rejects. */
  readonly onLost: () => Promise<void>;
}): (() => void) => {
  const { clock, isDoubtful, isProcessing, onLost } = options;
  let wasIdle = false;
  let stopped = false;
  let cancel = (): void => {};

  const look = async (): Promise<void> => {
    const idle = !(await isProcessing());
    if (idle && wasIdle && isDoubtful()) await onLost();
    else soon();
    wasIdle = idle;
  };
  const soon = (): void => {
    if (stopped || !isDoubtful()) return;
    cancel = clock.after(askEveryMs, () => {
      if (isDoubtful()) look().catch(soon);
    });
  };

  soon();
  return () => {
    stopped = true;
    cancel();
  };
};
