import type { Clock } from "../kernel/clock.ts";
import { isObject } from "../kernel/json.ts";

/**
 * A turn that no message in the node's queue has begun: a planned prompt, a notification, or a message that a client
 * put into the runtime's own queue. Nobody waits for it, and it is work all the same.
 */
export interface UnqueuedTurn {
  readonly running: boolean;
  /** A call has been answered after which the runtime may begin one, a moment later. */
  called(method: string): void;
  /** Takes in an event of the session; `queued`: a turn of the node's queue runs. True when it ends with this event. */
  observe(type: string, data: unknown, agentId: unknown, queued: boolean): boolean;
  /** Resolves when none is running. */
  over(): Promise<void>;
  /** The session has left its runtime, and the turn with it. */
  clear(): void;
}

/** A notification is followed by no `user.message`. */
const begins: ReadonlySet<string> = new Set(["user.message", "assistant.turn_start"]);

const beginning = /^session\.(sendMessages|sendSystemNotification|fleet\.start|queue\.\w+|commands\.\w+)$/;

/** May a turn begin after this call, beside those of the node's queue? */
export const mayBegin = (method: string): boolean => beginning.test(method);

/** Does a turn begin after this call for sure? */
export const beginsTurn = (method: string): boolean =>
  /^session\.(sendMessages|sendSystemNotification|fleet\.start)$/.test(method);

/** How long a turn that was told to abort may take to say that it is idle. */
const abortGraceMs = 10_000;

/** How long after such a call the turn may take to begin: some milliseconds, unless the machine is busy. */
const graceMs = 2_000;

export const createUnqueuedTurn = (options: {
  readonly clock: Clock;
  readonly turnTimeoutMs: number;
  /** It has taken longer than a turn may. */
  readonly abort: () => void;
  /** It goes on all the same. */
  readonly onStuck: () => void;
  /** None has begun after all. */
  readonly onLapse: () => void;
}): UnqueuedTurn => {
  let running = false;
  let stopWaiting: (() => void) | undefined;
  let cancelTimeout = (): void => {};
  let waiters: (() => void)[] = [];

  const tellWaiters = (): void => {
    for (const resolve of waiters) resolve();
    waiters = [];
  };

  const limit = (): void => {
    cancelTimeout = options.clock.after(options.turnTimeoutMs, () => {
      cancelTimeout = options.clock.after(abortGraceMs, options.onStuck);
      options.abort();
    });
  };

  const begun = (): void => {
    stopWaiting?.();
    stopWaiting = undefined;
  };

  return {
    get running() {
      return running || stopWaiting !== undefined;
    },
    called(method) {
      if (!mayBegin(method) || running) return;
      begun();
      stopWaiting = options.clock.after(graceMs, () => {
        stopWaiting = undefined;
        if (!running) tellWaiters();
        options.onLapse();
      });
    },
    observe(type, data, agentId, queued) {
      // Subagents have turns of their own, which do not end with the session's idle.
      if (begins.has(type) && agentId === undefined) {
        begun();
        if (!running && !queued) {
          running = true;
          limit();
        }
      }
      const ends = running && type === "session.idle" && !(isObject(data) && data.mode === "autopilot");
      if (ends) {
        cancelTimeout();
        running = false;
        tellWaiters();
      }
      return ends;
    },
    async over() {
      while (running || stopWaiting !== undefined)
        await new Promise<void>((resolve) => waiters.push(resolve));
    },
    clear() {
      begun();
      cancelTimeout();
      running = false;
      tellWaiters();
    },
  };
};
