import type { Clock } from "../kernel/clock.ts";
import type { SessionUse, Store } from "../store/store.ts";
import type { Log } from "../telemetry/log.ts";

const flushAfterMs = 1000;

/**
 * When sessions were last used and how many tokens they took: figures, written in batches, since each write waits for
 * the disk while no frame is passed on. What a killed node had not written is lost; it is no part of any answer.
 */
export interface UseLedger {
  used(sessionId: string, inputTokens: number, outputTokens: number): void;
  /** Writes what is noted. To be called before figures are shown. */
  flush(): Promise<void>;
}

export const createUseLedger = (options: { store: Store; clock: Clock; log: Log }): UseLedger => {
  const { store, clock, log } = options;
  const noted = new Map<string, SessionUse>();
  let cancelTimer: (() => void) | undefined;

  let lastWrite: Promise<void> = Promise.resolve();

  const write = (): Promise<void> => {
    const batch = [...noted.values()];
    noted.clear();
    return store.sessions.used(batch);
  };

  /** Who asks while a write is under way waits for it: nobody overtakes it with figures that are not there yet. */
  const flush = (): Promise<void> => {
    cancelTimer?.();
    cancelTimer = undefined;
    if (noted.size > 0) lastWrite = lastWrite.then(write, write);
    return lastWrite;
  };

  return {
    flush,
    used(id, inputTokens, outputTokens) {
      const before = noted.get(id);
      noted.set(id, {
        id,
        at: clock.now(),
        inputTokens: (before?.inputTokens ?? 0) + inputTokens,
        outputTokens: (before?.outputTokens ?? 0) + outputTokens,
      });
      cancelTimer ??= clock.after(flushAfterMs, () => {
        flush().catch((error) => log.error({ error }, "the use of sessions was not stored"));
      });
    },
  };
};
