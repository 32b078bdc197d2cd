import { expect, test } from "vitest";
import { historyEvents, messagesOf, pageOf } from "../../../src/http/history.ts";
import { RawJson } from "../../../src/wire/raw-json.ts";

test("a history is read as a value and as bytes; anything else is the runtime's fault", () => {
  const events = [{ type: "user.message", data: {} }, { no: "type" }, null];
  for (const answer of [{ events }, new RawJson(Buffer.from(JSON.stringify({ events })))]) {
    expect(historyEvents(answer)).toEqual([{ type: "user.message", data: {} }]);
  }
  expect(() => historyEvents({})).toThrow(expect.objectContaining({ code: "upstream_error" }));
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
