import { isObject } from "../kernel/json.ts";
import { eventSessionIds } from "../wire/method-table.ts";
import { type IdMap, withIds } from "./ids.ts";

/** Where an event names a user's message by the id that `session.send` gave it. */
const messageIds: Readonly<Record<string, string>> = {
  "user.message": "data.messageId",
  "assistant.message": "data.originatingMessageId",
};

/** Event types whose data holds ids that we replace; all others pass byte for byte. */
export const eventTypesWithIds: ReadonlySet<string> = new Set([
  ...Object.keys(eventSessionIds),
  ...Object.keys(messageIds),
]);

/** An event of the runtime as the client must see it. */
export const rewriteEvent = (event: unknown, sessions: IdMap, messages: IdMap): unknown => {
  if (!isObject(event) || typeof event.type !== "string") return event;
  let shown: unknown = event;
  for (const path of eventSessionIds[event.type] ?? []) shown = withIds(shown, `data.${path}`, sessions);
  const path = messageIds[event.type];
  return path === undefined ? shown : withIds(shown, path, messages);
};
