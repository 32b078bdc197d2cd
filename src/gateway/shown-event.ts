import { isObject } from "../kernel/json.ts";
import { rewriteEvent } from "./event-ids.ts";

/** Whose words a message's are: none's of the users if a plan, a command, a skill or an agent says them. */
const isUsers = (
  event: Readonly<Record<string, unknown>>,
  data: Readonly<Record<string, unknown>>,
): boolean =>
  event.agentId === undefined &&
  data.parentToolCallId === undefined &&
  data.isAutopilotContinuation !== true &&
  (data.source === undefined || data.source === "user");

/** A user's message without what the model got in its place, to which the founder's hooks may have added. */
export const asWritten = <E>(event: E): E => {
  if (!isObject(event) || event.type !== "user.message" || !isObject(event.data)) return event;
  const { transformedContent: _forTheModel, ...data } = event.data;
  return { ...event, data };
};

/**
 * An event as those see it who read the session over HTTP: a user's message says who sent it. `senderOf` is asked with
 * the id that the event has.
 */
export const withSender = <E>(event: E, senderOf: (messageId: string | undefined) => string): E => {
  if (!isObject(event) || event.type !== "user.message") return event;
  const data = isObject(event.data) ? event.data : {};
  if (!isUsers(event, data)) return event;
  return { ...event, sender: senderOf(typeof data.messageId === "string" ? data.messageId : undefined) };
};

/** An event of the runtime as the readers of the session's stream see it. */
export const shownEvent = (
  event: unknown,
  session: { readonly id: string; readonly publicId: string; readonly owner: string },
  known: (runtimeId: string) => { readonly clientId: string; readonly sender: string | null } | undefined,
): unknown =>
  rewriteEvent(
    withSender(asWritten(event), (id) => (id === undefined ? undefined : known(id)?.sender) ?? session.owner),
    (id) => (id === session.id ? session.publicId : undefined),
    (id) => known(id)?.clientId,
  );
