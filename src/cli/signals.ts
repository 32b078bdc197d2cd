import { constants } from "node:os";

const signals = ["SIGINT", "SIGTERM", "SIGHUP"] as const;

/** One Ctrl-C comes twice when npm stands between: from the terminal, and passed on by npm. */
const sameRequestMs = 500;

/**
 * Resolves at the first signal to end. A second one, at least half a second later, ends the process at once, after
 * `onSecond`, which must not wait for anything; the runtimes die with us.
 */
export const stopRequested = (onSecond: () => void = () => undefined): Promise<NodeJS.Signals> =>
  new Promise((resolve) => {
    let firstAt: number | undefined;
    for (const name of signals) {
      process.on(name, () => {
        const now = performance.now();
        if (firstAt === undefined) {
          firstAt = now;
          resolve(name);
        } else if (now - firstAt >= sameRequestMs) {
          onSecond();
          process.exit(128 + constants.signals[name]);
        }
      });
    }
  });
