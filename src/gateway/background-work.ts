import type { Clock } from "../kernel/clock.ts";
import { isObject } from "../kernel/json.ts";

/** What a session still does after it has said that it is idle: tasks and shells that go on behind it. */
export interface BackgroundWork {
  readonly running: boolean;
  /** The runtime says that the tasks have changed, not how; it is asked. */
  changed(): void;
  clear(): void;
}

const ended: ReadonlySet<unknown> = new Set(["completed", "failed", "cancelled", "killed", "idle"]);

/** A detached shell that ends says nothing: the runtime must be told to look, and says then that the tasks have changed. */
const refreshMs = 60_000;

/** How many of the tasks in a `session.tasks.list` have not ended. */
const unfinished = (result: unknown): number => {
  const tasks = isObject(result) && Array.isArray(result.tasks) ? result.tasks : [];
  return tasks.filter((task) => isObject(task) && !ended.has(task.status)).length;
};

export const createBackgroundWork = (options: {
  readonly clock: Clock;
  /** Asks the session's runtime. */
  readonly ask: (method: "session.tasks.list" | "session.tasks.refresh") => Promise<unknown>;
  readonly onIdle: () => void;
  readonly onError: (error: unknown) => void;
}): BackgroundWork => {
  let count = 0;
  /** Questions are numbered: only the answer to the latest counts. */
  let latest = 0;
  let waiting = false;
  let cancelRefresh = (): void => {};

  const refreshLater = (): void => {
    cancelRefresh = options.clock.after(refreshMs, () => {
      // If nothing has ended yet, nothing is said.
      refreshLater();
      options.ask("session.tasks.refresh").catch(options.onError);
    });
  };

  const ask = async (): Promise<void> => {
    const question = ++latest;
    waiting = true;
    try {
      const result = await options.ask("session.tasks.list");
      if (question !== latest) return;
      count = unfinished(result);
    } finally {
      if (question === latest) waiting = false;
    }
    cancelRefresh();
    if (count === 0) options.onIdle();
    else refreshLater();
  };

  return {
    // While the answer is awaited, it may be so.
    get running() {
      return count > 0 || waiting;
    },
    changed() {
      ask().catch(options.onError);
    },
    clear() {
      latest++;
      count = 0;
      waiting = false;
      cancelRefresh();
    },
  };
};
