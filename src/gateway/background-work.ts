import { isObject } from "../kernel/json.ts";

/** What a session still does after it has said that it is idle: tasks and shells that go on behind it. */
export interface BackgroundWork {
  readonly running: boolean;
  /** The runtime says that the tasks have changed, not how; it is asked. */
  changed(): void;
  clear(): void;
}

const ended: ReadonlySet<unknown> = new Set(["completed", "failed", "cancelled", "killed", "idle"]);

/** How many of the tasks in a `session.tasks.list` have not ended. */
const unfinished = (result: unknown): number => {
  const tasks = isObject(result) && Array.isArray(result.tasks) ? result.tasks : [];
  return tasks.filter((task) => isObject(task) && !ended.has(task.status)).length;
};

export const createBackgroundWork = (options: {
  /** `session.tasks.list` of the session's runtime. */
  readonly list: () => Promise<unknown>;
  readonly onIdle: () => void;
  readonly onError: (error: unknown) => void;
}): BackgroundWork => {
  let count = 0;
  let asked = 0;

  const ask = async (): Promise<void> => {
    asked++;
    const question = asked;
    const result = await options.list();
    if (question !== asked) return;
    asked = 0;
    count = unfinished(result);
    if (count === 0) options.onIdle();
  };

  return {
    // While the answer is awaited, it may be so.
    get running() {
      return count > 0 || asked > 0;
    },
    changed() {
      ask().catch((error) => {
        asked = 0;
        options.onError(error);
      });
    },
    clear() {
      count = 0;
      asked = 0;
    },
  };
};
