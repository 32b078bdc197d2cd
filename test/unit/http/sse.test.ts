import { PassThrough } from "node:stream";
import { setImmediate as turn } from "node:timers/promises";
import { expect, test } from "vitest";
import { openEventStream } from "../../../src/http/sse.ts";
import { ManualClock } from "../../support/manual-clock.ts";

const open = () => {
  const clock = new ManualClock();
  let cuts = 0;
  const stream = openEventStream({
    clock,
    onCut: () => {
      cuts++;
    },
  });
  return { clock, stream, cuts: () => cuts };
};

const textOf = async (body: AsyncIterable<unknown>): Promise<string> => {
  let text = "";
  for await (const chunk of body) text += String(chunk);
  return text;
};

test("an event is its type and one line of JSON, and the stream ends with the last one", async () => {
  const { clock, stream } = open();
  stream.send("assistant.message", { text: "two\nlines" });
  stream.end("turn.completed", {});
  stream.send("late", {});
  expect(await textOf(stream.body)).toBe(
    'event: assistant.message\ndata: {"text":"two\\nlines"}\n\nevent: turn.completed\ndata: {}\n\n',
  );
  await stream.closed;
  expect(clock.pending).toBe(0);
});

test("an event's type cannot begin another field", async () => {
  const { stream } = open();
  stream.end("a\ndata: forged\r\n", {});
  expect(await textOf(stream.body)).toBe("event: a data: forged  \ndata: {}\n\n");
});

test("silence is broken by a comment, and only silence", async () => {
  const { clock, stream } = open();
  const reader = stream.body.pipe(new PassThrough());
  clock.advance(14_999);
  stream.send("event", {});
  await turn();
  clock.advance(14_999);
  expect(String(reader.read())).toBe("event: event\ndata: {}\n\n");
  clock.advance(1);
  clock.advance(15_000);
  await turn();
  expect(String(reader.read())).toMatch(/^(: heartbeat\n\n)+$/);
  stream.end("turn.completed", {});
  await textOf(reader);
});

test("a client that does not read is told and cut, and its connection is ended after a while", async () => {
  const { clock, stream, cuts } = open();
  const data = "x".repeat(1_000_000);
  for (let at = 0; at < 4; at++) stream.send("event", data);
  expect(cuts()).toBe(0);
  stream.send("event", data);
  stream.send("event", data);
  expect(cuts()).toBe(1);
  expect(stream.body.readableLength).toBeLessThan(4_200_000);
  clock.advance(9_999);
  expect(stream.body.destroyed).toBe(false);
  clock.advance(1);
  await stream.closed;
  expect(stream.body.destroyed).toBe(true);
  expect(clock.pending).toBe(0);
});

test("a client that reads on after the cut gets what was kept and the reason", async () => {
  const { stream } = open();
  for (let at = 0; at < 6; at++) stream.send("event", "x".repeat(1_000_000));
  const text = await textOf(stream.body);
  expect(text.match(/event: event/g)).toHaveLength(4);
  expect(text).toMatch(/event: stream\.closed\ndata: {"code":"slow_consumer".*}\n\n$/);
});

test("a client that goes away leaves nothing running", async () => {
  const { clock, stream } = open();
  stream.body.destroy();
  await stream.closed;
  stream.send("event", {});
  stream.end("turn.completed", {});
  expect(clock.pending).toBe(0);
});
