import { LRUCache } from "lru-cache";
import { isObject } from "../kernel/json.ts";
import type { Envelope } from "../wire/envelope.ts";

/** Requests that a session makes as events and that clients answer by an id: a runtime looks for it in all of its sessions. */
const requests: ReadonlySet<string> = new Set([
  ...["auto_mode_switch.requested", "command.execute", "command.queued", "elicitation.requested"],
  ...[
    "exit_plan_mode.requested",
    "external_tool.requested",
    "mcp.headers_refresh_required",
    "mcp.oauth_required",
  ],
  ...[
    "permission.requested",
    "sampling.requested",
    "session_limits_exhausted.requested",
    "user_input.requested",
  ],
]);

/** Enough for every request that can be open: each waits for a client, and the queue of a session is short. */
const remembered = 100_000;

/** Whose requests the runtimes' requests are, so that nobody answers another session's. */
export interface RequestOwners {
  /** Takes in an event of this session. */
  observe(sessionId: string, frame: Envelope): void;
  /** Is the request another session's? */
  isForeign(requestId: unknown, sessionId: string): boolean;
}

export const createRequestOwners = (): RequestOwners => {
  const owners = new LRUCache<string, string>({ max: remembered });
  return {
    observe(sessionId, frame) {
      if (frame.eventType === undefined || !requests.has(frame.eventType)) return;
      const params = frame.params();
      const event = isObject(params) ? params.event : undefined;
      const data = isObject(event) ? event.data : undefined;
      if (isObject(data) && typeof data.requestId === "string") owners.set(data.requestId, sessionId);
    },
    isForeign(requestId, sessionId) {
      const owner = typeof requestId === "string" ? owners.get(requestId) : undefined;
      return owner !== undefined && owner !== sessionId;
    },
  };
};
