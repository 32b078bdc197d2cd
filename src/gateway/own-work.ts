import type { Clock } from "../kernel/clock.ts";
import type { Log } from "../telemetry/log.ts";
import { createBackgroundWork } from "./background-work.ts";
import { createSchedules, scheduleEvents } from "./schedules.ts";
import type { Shells } from "./shells.ts";
import { createUnqueuedTurn } from "./unqueued-turn.ts";

/** What a session does besides the turns of its queue: turns that nobody queued, background tasks, plans, shells. */
export interface OwnWork {
  /** Does any of it keep the session in memory? */
  readonly running: boolean;
  /** Does a turn run that nobody queued? */
  readonly inTurn: boolean;
  /** Resolves when no such turn runs. */
  turnOver(): Promise<void>;
  /** A call that may begin something has been answered. */
  called(method: string): void;
  /** What it changed is stored. */
  changed(method: string): void;
  /** Takes in an event; `queued`: a turn of the queue runs. True when a turn that nobody queued ends with it. */
  observe(type: string, data: unknown, agentId: unknown, queued: boolean): boolean;
  /** The session has come into a runtime, where it may have plans. */
  seePlans(): void;
  /** The session has left its runtime, and all this with it. */
  clear(): void;
}

export const createOwnWork = (options: {
  readonly clock: Clock;
  readonly session: string;
  readonly shells: Shells;
  /** May clients make plans? */
  readonly plans: boolean;
  /** Asks the session's runtime without waking it. */
  readonly ask: (method: string) => Promise<unknown>;
  /** Some of it has ended. */
  readonly onIdle: () => void;
  /** A turn that might have begun has not. */
  readonly onLapse: () => void;
  readonly turnTimeoutMs: number;
  /** A turn that nobody queued takes longer than a turn may, and does not let itself be aborted. */
  readonly onStuck: () => void;
  readonly log: Log;
}): OwnWork => {
  const { clock, session, shells, ask, onIdle, log } = options;

  const background = createBackgroundWork({
    clock,
    ask,
    onIdle,
    onError: (error) => log.warn({ session, error }, "the session's tasks could not be listed"),
  });

  const schedules = createSchedules({
    ask: () => ask("session.schedule.list"),
    onNone: onIdle,
    onError: (error) => log.warn({ session, error }, "the session's plans could not be listed"),
  });

  const unqueued = createUnqueuedTurn({
    clock,
    turnTimeoutMs: options.turnTimeoutMs,
    abort: () =>
      ask("session.abort").catch((error) =>
        log.warn({ session, error }, "a turn that takes too long could not be aborted"),
      ),
    onStuck: options.onStuck,
    onLapse: options.onLapse,
  });

  return {
    get running() {
      return background.running || schedules.planned || unqueued.running || shells.running(session);
    },
    get inTurn() {
      return unqueued.running;
    },
    turnOver: unqueued.over,
    called: unqueued.called,
    changed(method) {
      if (method.startsWith("session.tasks.")) background.changed();
    },
    observe(type, data, agentId, queued) {
      if (type === "session.background_tasks_changed") background.changed();
      if (scheduleEvents.has(type)) schedules.changed();
      return unqueued.observe(type, data, agentId, queued);
    },
    seePlans() {
      if (options.plans) schedules.changed();
    },
    clear() {
      background.clear();
      schedules.clear();
      unqueued.clear();
      shells.left(session);
    },
  };
};
