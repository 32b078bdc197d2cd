import { isObject } from "../kernel/json.ts";

/** Prompts that a session has planned for later: its runtime holds the timers, and they end with its stay there. */
export interface Schedules {
  readonly planned: boolean;
  /** They may have changed; the runtime is asked. */
  changed(): void;
  clear(): void;
}

/** Events after which there may be other ones. A prompt that was for once is cancelled when its turn has ended. */
export const scheduleEvents: ReadonlySet<string> = new Set([
  "session.schedule_created",
  "session.schedule_cancelled",
  "session.schedule_rearmed",
]);

export const createSchedules = (options: {
  /** The result of `session.schedule.list`; undefined when the session is in no runtime. */
  readonly ask: () => Promise<unknown>;
  readonly onNone: () => void;
  readonly onError: (error: unknown) => void;
}): Schedules => {
  let count = 0;
  let question = 0;

  const ask = async (): Promise<void> => {
    const mine = ++question;
    const result = await options.ask();
    if (mine !== question) return;
    const entries = isObject(result) ? result.entries : undefined;
    count = Array.isArray(entries) ? entries.length : 0;
    if (count === 0) options.onNone();
  };

  return {
    get planned() {
      return count > 0;
    },
    changed() {
      ask().catch(options.onError);
    },
    clear() {
      question++;
      count = 0;
    },
  };
};
