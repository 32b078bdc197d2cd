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

/** What of an event's data only the founder's SDK clients see: what hooks have added for the model, and where it works. */
const foundersFields: Readonly<Record<string, readonly string[]>> = {
  "user.message": ["transformedContent"],
  "session.start": ["context", "githubMcpToolConfig"],
  "session.resume": ["context", "githubMcpToolConfig"],
  "external_tool.requested": ["workingDirectory"],
};

export const hasFoundersFields = (type: string): boolean => Object.hasOwn(foundersFields, type);

/** An event without what is the founder's alone. */
export const forEverybody = <E>(event: E): E => {
  if (!isObject(event) || !isObject(event.data)) return event;
  const fields = foundersFields[String(event.type)];
  if (fields === undefined) return event;
  const shown = Object.entries(event.data).filter(([name]) => !fields.includes(name));
  return { ...event, data: Object.fromEntries(shown) };
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
    withSender(
      forEverybody(event),
      (id) => (id === undefined ? undefined : known(id)?.sender) ?? session.owner,
    ),
    (id) => (id === session.id ? session.publicId : undefined),
    (id) => known(id)?.clientId,
  );
