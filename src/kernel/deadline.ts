import type { Clock } from "./clock.ts";
import { SquadronError } from "./errors.ts";

/**
 * Waits for `work` until `ms` have passed or `signal` aborts, whichever is first.
 * Rejects with `timeout` (message says what was waited for) or `cancelled`. The work itself is not stopped.
 */
export const withDeadline = <T>(
  work: Promise<T>,
  options: { clock: Clock; ms: number; what: string; signal?: AbortSignal | undefined },
): Promise<T> => {
  const { clock, ms, what, signal } = options;
  return new Promise<T>((resolve, reject) => {
    const cancelled = () => finish(() => reject(new SquadronError("cancelled", `${what} was cancelled.`)));
    const cancelTimer = clock.after(ms, () =>
      finish(() => reject(new SquadronError("timeout", `${what} took longer than ${ms} ms.`))),
    );
    const finish = (settle: () => void) => {
      cancelTimer();
      signal?.removeEventListener("abort", cancelled);
      settle();
    };
    signal?.addEventListener("abort", cancelled, { once: true });
    if (signal?.aborted) cancelled();
    work.then(
      (value) => finish(() => resolve(value)),
      (error) => finish(() => reject(error)),
    );
  });
};
