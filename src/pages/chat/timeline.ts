import type { Fact, Message } from "./facts.ts";
import { hasEnded, type Request, type Room, type Turn } from "./room.ts";

/** What stands in a room, from above to below. */
export type Item =
  | (Message & { readonly kind: "message"; readonly key: string })
  | { readonly kind: "answer"; readonly key: string; readonly content: string; readonly grows: boolean }
  | { readonly kind: "tools"; readonly key: string; readonly calls: readonly ToolCall[] }
  | {
      readonly kind: "request";
      readonly key: string;
      readonly request: Request;
      /** Of a permission, once it is known. */
      readonly allowed: boolean | undefined;
    }
  | { readonly kind: "ending"; readonly key: string; readonly turn: Turn };

export interface ToolCall {
  readonly callId: string;
  readonly name: string;
  readonly args: string;
  readonly state: "running" | "done" | "failed" | "unknown";
  readonly result: string;
}

type Result = Extract<Fact, { kind: "tool-result" }>;

const callOf = (
  fact: Extract<Fact, { kind: "tool" }>,
  result: Result | undefined,
  busy: boolean,
): ToolCall => {
  const { callId, name, args } = fact;
  if (result === undefined) return { callId, name, args, state: busy ? "running" : "unknown", result: "" };
  return { callId, name, args, state: result.ok ? "done" : "failed", result: result.result };
};

/** Each fact's item is made once, so that what has not changed is not drawn again. */
const made = new WeakMap<Fact, Item>();

const itemOf = (fact: Extract<Fact, { kind: "user" | "assistant" }>): Item => {
  const before = made.get(fact);
  if (before !== undefined) return before;
  const item: Item =
    fact.kind === "assistant"
      ? { kind: "answer", key: `answer-${fact.messageId}`, content: fact.content, grows: false }
      : messageOf(fact);
  made.set(fact, item);
  return item;
};

const messageOf = ({ id, kind: _, ...message }: Extract<Fact, { kind: "user" }>): Item => ({
  kind: "message",
  key: id,
  ...message,
});

/** Ends that need no word: the answer says enough. */
const endingOf = (turn: Turn | undefined): Turn | undefined =>
  turn === undefined || !hasEnded(turn) || turn.state === "completed" ? undefined : turn;

/**
 * The items of a room in order. `turns` is asked for what has become of each message; `busy` says whether one is being
 * answered now.
 */
export const timelineOf = (
  room: Pick<Room, "facts" | "growing" | "requests" | "turns">,
  busy: boolean,
): Item[] => {
  const { facts, growing, requests, turns } = room;
  const results = new Map<string, Result>();
  const decisions = new Map<string, boolean>();
  for (const fact of facts) {
    if (fact.kind === "tool-result") results.set(fact.callId, fact);
    if (fact.kind === "decision") decisions.set(fact.request, fact.allowed);
  }
  const items: Item[] = [];
  let turnId: string | undefined;

  const turnOfNow = (): Turn | undefined => (turnId === undefined ? undefined : turns.get(turnId));
  const endTurn = (): void => {
    const turn = endingOf(turnOfNow());
    if (turn !== undefined) items.push({ kind: "ending", key: `end-${turn.id}`, turn });
  };
  const placeRequests = (from: number, to: number): void => {
    for (const request of requests)
      if (request.at >= from && request.at < to)
        items.push({
          kind: "request",
          key: `request-${request.id}`,
          request,
          allowed: decisions.get(request.id),
        });
  };

  facts.forEach((fact, at) => {
    placeRequests(at, at + 1);
    switch (fact.kind) {
      case "user": {
        endTurn();
        turnId = fact.turnId;
        items.push(itemOf(fact));
        break;
      }
      case "assistant":
        // A step that only calls tools says nothing.
        if (fact.content.trim() !== "")
          items.push({
            kind: "answer",
            key: `answer-${fact.messageId}`,
            content: fact.content,
            grows: false,
          });
        break;
      case "tool": {
        const turn = turnOfNow();
        const works = busy && !(turn !== undefined && hasEnded(turn));
        const call = callOf(fact, results.get(fact.callId), works);
        const last = items.at(-1);
        if (last?.kind === "tools") items[items.length - 1] = { ...last, calls: [...last.calls, call] };
        else items.push({ kind: "tools", key: fact.id, calls: [call] });
        break;
      }
      case "tool-result":
      case "decision":
      case "other":
        break;
    }
  });
  placeRequests(facts.length, Number.POSITIVE_INFINITY);
  for (const { messageId, text } of growing)
    if (text !== "") items.push({ kind: "answer", key: `answer-${messageId}`, content: text, grows: true });
  endTurn();
  return items;
};
