import { isObject } from "../kernel/json.ts";
import { untold } from "../sessions/stored-events.ts";
import { isSameUser } from "./answer-right.ts";
import { requestKinds } from "./request-kinds.ts";
import type { Attachment, Sender } from "./vocabulary.ts";

/** Events that only a connection which asked for streaming sees. */
const streamingOnly: ReadonlySet<string> = new Set([
  "assistant.message_start",
  "assistant.message_delta",
  "assistant.reasoning_delta",
  "assistant.streaming_delta",
  "assistant.tool_call_delta",
]);

/** Events that end a turn for whoever waits for one. */
export const turnEnds: ReadonlySet<string> = new Set(["assistant.idle", "session.idle", "session.error"]);

export interface Audience {
  readonly attachments: readonly Attachment[];
  /** Whose message is being answered. */
  readonly sender: Sender | undefined;
  /** Is the present turn this connection's, or was a message of it delivered into it? */
  serves(connection: Attachment["connection"]): boolean;
  /**
   * Has this connection ever asked in this session? It sees only ends of its own turns then: an SDK takes any end for
   * the one that it waits for, and could send the next message while another's end is on its way.
   */
  hasAsked(connection: Attachment["connection"]): boolean;
  /** Has this connection a message in this session that is still to be answered, other than the present one? */
  waits(connection: Attachment["connection"]): boolean;
  /** Does this client belong to those who answer what is asked now? */
  answers(attachment: Attachment): boolean;
}

/** The attachment that is asked: the turn's sender if it can answer, else its user's latest that can, else an owner's. */
export const chooseFor = (
  audience: Pick<Audience, "attachments" | "sender" | "answers">,
  able: (attachment: Attachment) => boolean,
): Attachment | undefined => {
  const { sender } = audience;
  const candidates = audience.attachments.filter((one) => audience.answers(one) && able(one));
  return (
    candidates.findLast(({ connection }) => connection === sender) ??
    candidates.findLast(({ connection }) => isSameUser(sender?.principal, connection.principal)) ??
    candidates.at(-1)
  );
};

/** The attachment that a request event is put to. */
export const askedBy = (audience: Audience, type: string, data: unknown): Attachment | undefined => {
  const kind = requestKinds[type];
  const content = isObject(data) ? data : {};
  return kind === undefined
    ? undefined
    : chooseFor(audience, (attachment) => kind.answerable(attachment, content));
};

/** An SDK client answers what it sees as soon as it has a handler for it: who may not answer is not shown it. */
const mayBeShown = (audience: Audience, attachment: Attachment): boolean =>
  attachment.connection.link.kind !== "sdk" || audience.answers(attachment);

/** Who may see a request that no client is asked: whoever sees one that it could answer, answers it. */
export const bystanders = (audience: Audience, type: string, data: unknown): readonly Attachment[] => {
  const content = isObject(data) ? data : {};
  return audience.attachments.filter(
    (attachment) =>
      mayBeShown(audience, attachment) && requestKinds[type]?.answerable(attachment, content) !== true,
  );
};

/** Who gets an event. Ends of a turn do not go to a connection that waits for a later turn of its own. */
export const receivers = (audience: Audience, type: string, data: unknown): readonly Attachment[] => {
  const kind = requestKinds[type];
  if (kind !== undefined) {
    const content = isObject(data) ? data : {};
    const asked = askedBy(audience, type, data);
    return audience.attachments.filter(
      (attachment) =>
        attachment === asked ||
        (mayBeShown(audience, attachment) &&
          (kind.shownTo === "all" ||
            (kind.shownTo === "asked and unable" && !kind.answerable(attachment, content)))),
    );
  }
  if (turnEnds.has(type))
    return audience.attachments.filter(
      ({ connection }) =>
        !audience.waits(connection) &&
        (audience.serves(connection) ||
          audience.sender === undefined ||
          connection.link.kind !== "sdk" ||
          !audience.hasAsked(connection)),
    );
  // The founder's programs have said what the model is told.
  if (untold.has(type)) return audience.attachments.filter(({ founder }) => founder);
  if (streamingOnly.has(type))
    return audience.attachments.filter(({ declarations }) => declarations.flags.has("streaming"));
  return audience.attachments;
};
