import { isObject } from "../kernel/json.ts";

/**
 * A turn that no message in the node's queue has begun: a planned prompt, a notification, or a message that a client
 * put into the runtime's own queue. Nobody waits for it, and it is work all the same.
 */
export interface UnqueuedTurn {
  readonly running: boolean;
  /** Takes in an event of the session; `queued`: a turn of the node's queue runs. True when it ends with this event. */
  observe(type: string, data: unknown, agentId: unknown, queued: boolean): boolean;
  /** The session has left its runtime, and the turn with it. */
  clear(): void;
}

/** A notification is followed by no `user.message`. */
const begins: ReadonlySet<string> = new Set(["user.message", "assistant.turn_start"]);

export const createUnqueuedTurn = (): UnqueuedTurn => {
  let running = false;
  return {
    get running() {
      return running;
    },
    observe(type, data, agentId, queued) {
      // Subagents have turns of their own, which do not end with the session's idle.
      if (begins.has(type) && agentId === undefined && !queued) running = true;
      const ends = running && type === "session.idle" && !(isObject(data) && data.mode === "autopilot");
      if (ends) running = false;
      return ends;
    },
    clear() {
      running = false;
    },
  };
};
