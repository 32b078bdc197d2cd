import { expect, test } from "vitest";
import { historyEvents, messagesOf, pageOf } from "../../../src/http/history.ts";
import { RawJson } from "../../../src/wire/raw-json.ts";

const nobody = () => "nobody";

test("a history is read as a value and as bytes; anything else is the runtime's fault", () => {
  const events = [{ type: "session.start", data: {} }, { no: "type" }, null];
  for (const answer of [{ events }, new RawJson(Buffer.from(JSON.stringify({ events })))]) {
    expect(historyEvents(answer, nobody)).toEqual([{ type: "session.start", data: {} }]);
  }
  expect(() => historyEvents({}, nobody)).toThrow(expect.objectContaining({ code: "upstream_error" }));
});

test("users' messages have their senders, and what no user has said has none", () => {
  const said = (data: object, more: object = {}) => ({ type: "user.message", id: "e", data, ...more });
  const events = [
    said({ messageId: "m1", content: "a" }),
    said({ messageId: "m2", content: "b", source: "user" }),
    said({ content: "of long ago" }),
    said({ messageId: "m1", source: "schedule-1" }),
    said({ messageId: "m1", source: "skill-pdf" }),
    said({ messageId: "m1", isAutopilotContinuation: true }),
    said({ messageId: "m1", parentToolCallId: "c" }),
    said({ messageId: "m1" }, { agentId: "g" }),
    { type: "assistant.message", id: "e", data: { messageId: "m1", content: "c" } },
  ];
  const shown = historyEvents({ events }, (id) => ({ m1: "bob", m2: "alice" })[id ?? ""] ?? "founder");
  const none = undefined;
  expect(shown.map(({ sender }) => sender)).toEqual([
    ...["bob", "alice", "founder"],
    ...[none, none, none, none, none, none],
  ]);
  expect(messagesOf(shown).map(({ content, sender }) => [content, sender])).toEqual([
    ["a", "bob"],
    ["b", "alice"],
    ["of long ago", "founder"],
    ["", none],
    ["", none],
    ["", none],
    ["", none],
    ["c", none],
  ]);
});

test("messages are what was said: no empty steps, no sub-agents, nothing else", () => {
  const at = "2026-01-01T00:00:00.000Z";
  const event = (type: string, data: unknown) => ({ type, id: "e", timestamp: at, data });
  expect(
    messagesOf([
      event("session.start", {}),
      event("user.message", { content: "hi", messageId: "m1" }),
      event("assistant.message", { content: "", messageId: "m2" }),
      event("assistant.message", { content: "inner", messageId: "m3", parentToolCallId: "c" }),
      event("assistant.message", { content: "hello", messageId: "m4" }),
      event("assistant.message", null),
    ]),
  ).toEqual([
    { id: "m1", role: "user", content: "hi", at },
    { id: "m4", role: "assistant", content: "hello", at },
  ]);
});

test("pages cover the list once", () => {
  const items = [0, 1, 2, 3, 4];
  const first = pageOf(items, { limit: 2 });
  const second = pageOf(items, { limit: 2, cursor: first.next });
  const third = pageOf(items, { limit: 2, cursor: second.next });
  expect([first.items, second.items, third]).toEqual([[0, 1], [2, 3], { items: [4] }]);
  expect(pageOf(items, { limit: 5 })).toEqual({ items });
  for (const cursor of ["x", "-1", "1.5", "1e99"]) {
    expect(() => pageOf(items, { limit: 2, cursor })).toThrow(
      expect.objectContaining({ code: "invalid_request" }),
    );
  }
});
