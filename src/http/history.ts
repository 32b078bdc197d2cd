import { forEverybody, withSender } from "../gateway/shown-event.ts";
import { SquadronError } from "../kernel/errors.ts";
import { isObject } from "../kernel/json.ts";
import { RawJson } from "../wire/raw-json.ts";
import type { SessionEvent } from "./connection.ts";

/** One message of a conversation, as people read it. */
export interface Message {
  readonly id: string;
  readonly role: "user" | "assistant";
  readonly content: string;
  readonly at: string;
  /** The user who sent it; none of an answer, nor of what no user has said. */
  readonly sender?: string;
}

/** The events in the answer to `session.getMessages`, those of users' messages with their senders. */
export const historyEvents = (
  answer: unknown,
  senderOf: (messageId: string | undefined) => string,
): readonly SessionEvent[] => {
  const value: unknown = answer instanceof RawJson ? JSON.parse(answer.bytes.toString()) : answer;
  const events = isObject(value) ? value.events : undefined;
  if (!Array.isArray(events)) throw new SquadronError("upstream_error", "The runtime told no history.");
  return events.flatMap((event: unknown) =>
    isObject(event) && typeof event.type === "string"
      ? [withSender(forEverybody({ ...event, type: event.type }), senderOf)]
      : [],
  );
};

const text = (value: unknown): string => (typeof value === "string" ? value : "");

/** The messages of a history in order, without those of sub-agents and without steps that said nothing. */
export const messagesOf = (events: readonly SessionEvent[]): readonly Message[] =>
  events.flatMap(({ type, id, timestamp, data, sender }): readonly Message[] => {
    if (!isObject(data) || data.parentToolCallId !== undefined) return [];
    const common = { content: text(data.content), at: text(timestamp) };
    const said = typeof sender === "string" ? { ...common, sender } : common;
    if (type === "user.message") return [{ id: text(data.messageId) || text(id), role: "user", ...said }];
    if (type !== "assistant.message" || common.content === "") return [];
    return [{ id: text(data.messageId) || text(id), role: "assistant", ...common }];
  });

/** A page of a list that only grows. The cursor is the position; `invalid_request` for one that is none. */
export const pageOf = <T>(
  items: readonly T[],
  { cursor, limit }: { readonly cursor?: string | undefined; readonly limit: number },
): { readonly items: T[]; readonly next?: string } => {
  const from = cursor === undefined ? 0 : Number(cursor);
  if (!Number.isSafeInteger(from) || from < 0) {
    throw new SquadronError("invalid_request", "cursor: It is not the `next` of a page.", {
      details: { in: "querystring", field: "cursor" },
    });
  }
  const to = from + limit;
  return { items: items.slice(from, to), ...(to < items.length && { next: String(to) }) };
};
