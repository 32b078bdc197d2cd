import { setTimeout as sleep } from "node:timers/promises";

const pollMs = 5;

/**
 * Waits until `look` gives something other than `undefined` or `false`, and gives it back. What `look` throws counts
 * as "not yet"; the last such error is the cause of the error at the deadline.
 */
export const eventually = async <T>(
  look: () => T | Promise<T>,
  options: { readonly what: string; readonly deadlineMs?: number },
): Promise<Exclude<T, undefined | false>> => {
  const { what, deadlineMs = 10_000 } = options;
  const end = performance.now() + deadlineMs;
  let last: unknown;
  do {
    try {
      const seen = await look();
      if (seen !== undefined && seen !== false) return seen as Exclude<T, undefined | false>;
      last = undefined;
    } catch (error) {
      last = error;
    }
    await sleep(pollMs);
  } while (performance.now() < end);
  throw new Error(`Not within ${deadlineMs} ms: ${what}.`, { cause: last });
};

/** The promise's value; rejects when it has not come within the deadline. */
export const within = async <T>(
  promise: Promise<T>,
  options: { readonly what: string; readonly deadlineMs?: number },
): Promise<T> => {
  const { what, deadlineMs = 10_000 } = options;
  const timer = new AbortController();
  const late = sleep(deadlineMs, undefined, { signal: timer.signal }).then(() => {
    throw new Error(`Not within ${deadlineMs} ms: ${what}.`);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    timer.abort();
    late.catch(() => undefined);
  }
};
