import { isObject } from "../kernel/json.ts";
import type { Part } from "../policy/session-rights.ts";
import type { Turn } from "../sessions/turn.ts";
import type { Connection, Sender, SessionHost } from "./vocabulary.ts";

/** An entry of `session.queue.pendingItems`, as the SDK's `QueuePendingItems` has it. */
const itemOf = ({ id, parameters }: Turn<Sender>) => ({
  id,
  messageId: id,
  kind: "message",
  displayText: String(parameters.displayPrompt ?? parameters.prompt ?? ""),
  agentMode: parameters.agentMode ?? "interactive",
});

/** Asks the runtime that holds the session; what sleeps has nothing in a runtime's queue. */
const askRuntime = async (host: SessionHost, method: string): Promise<Readonly<Record<string, unknown>>> => {
  if (host.runtime === undefined) return {};
  const result = (await host.call(method, {})).result();
  return isObject(result) ? result : {};
};

/** What waits in the node's queue, behind what the runtime itself has waiting for the running turn. */
export const pendingItems = async (host: SessionHost): Promise<unknown> => {
  const { items, steeringMessages, ...rest } = await askRuntime(host, "session.queue.pendingItems");
  return {
    ...rest,
    items: [...(Array.isArray(items) ? items : []), ...host.waiting.map(itemOf)],
    steeringMessages: Array.isArray(steeringMessages) ? steeringMessages : [],
  };
};

/** The same for one who is not to see what others say before it is said. */
export const ownPendingItems = async (host: SessionHost, { principal }: Connection): Promise<unknown> => ({
  items: host.waiting.filter(({ sender }) => sender.principal.user === principal.user).map(itemOf),
  steeringMessages: [],
});

/** Takes back what this client added last; what the runtime has waiting is the session's, so its founder's. */
export const removeMostRecent = async (
  host: SessionHost,
  by: Connection,
  { founder }: Part,
): Promise<unknown> => {
  const own = host.waiting.filter(({ sender }) => sender === by);
  const last = own.toSorted((one, other) => one.queuedAt - other.queuedAt).at(-1);
  if (last !== undefined) {
    await host.abort(by, last.id);
    return { removed: true };
  }
  if (!founder) return { removed: false };
  const { removed } = await askRuntime(host, "session.queue.removeMostRecent");
  if (removed === true) host.unsteered("last");
  return { removed: removed === true };
};

/** Takes back all that this client has waiting, and for the founder what the runtime has. */
export const clearQueue = async (host: SessionHost, by: Connection, { founder }: Part): Promise<unknown> => {
  // All at once: one that began meanwhile would be aborted while it runs.
  const own = host.waiting.filter(({ sender }) => sender === by);
  await Promise.all(own.map(({ id }) => host.abort(by, id)));
  if (!founder) return null;
  await askRuntime(host, "session.queue.clear");
  host.unsteered("all");
  return null;
};
