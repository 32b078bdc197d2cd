import { setImmediate as turn } from "node:timers/promises";
import { expect, test } from "vitest";
import type { Found } from "../../../src/gateway/event-log.ts";
import { openEventFeed } from "../../../src/http/event-feed.ts";
import { SquadronError } from "../../../src/kernel/errors.ts";
import { ManualClock } from "../../support/manual-clock.ts";

const entry = (at: number, bytes = 10): Found => ({
  kind: "entry",
  entry: { id: `e${at}`, type: "assistant.message", data: Buffer.from(JSON.stringify("x".repeat(bytes))) },
});

const setUp = (bytes?: number) => {
  const clock = new ManualClock();
  const waiting: Found[] = [];
  let taken = 0;
  const feed = openEventFeed({
    clock,
    reader: {
      begin: "e0",
      next: () => {
        const found = waiting.shift() ?? { kind: "wait" };
        if (found.kind === "entry") taken++;
        return found;
      },
    },
  });
  const tell = (...found: Found[]): void => {
    waiting.push(...found);
    feed.more();
  };
  const many = (count: number): void =>
    tell(...Array.from({ length: count }, (_, at) => entry(at + 1, bytes)));
  return { clock, feed, tell, many, taken: () => taken };
};

const rest = async (body: AsyncIterable<unknown>): Promise<string> => {
  let text = "";
  for await (const chunk of body) text += String(chunk);
  return text;
};

const opening = 'retry: 1000\nid: e0\nevent: stream.opened\ndata: {"at":"e0"}\n\n';
const gone = new SquadronError("session_deleted", "gone");

test("every event has its id, the one that opens the stream and the one that ends it too", async () => {
  const { clock, feed, tell } = setUp();
  tell(entry(1), { kind: "end", error: gone });
  tell(entry(2));
  expect(await rest(feed.body)).toBe(
    `${opening}id: e1\nevent: assistant.message\ndata: "xxxxxxxxxx"\n\n` +
      'id: e1\nevent: stream.closed\ndata: {"code":"session_deleted","detail":"gone","details":{}}\n\n',
  );
  await feed.closed;
  expect(clock.pending).toBe(0);
});

test("what has no place in the stream is told between its events, under the id of the last; only the latest waits", async () => {
  const { feed, tell } = setUp(1_000);
  tell(entry(1));
  feed.aside("presence", Buffer.from("1"));
  tell(...Array.from({ length: 100 }, (_, at) => entry(at + 2, 1_000)));
  feed.aside("presence", Buffer.from("2"));
  feed.aside("presence", Buffer.from("3"));
  tell({ kind: "end", error: gone });
  const text = await rest(feed.body);
  const places = [...text.matchAll(/id: (\w+)\nevent: (\S+)\ndata: (.*)/g)].map(([, id, type, data]) => ({
    id,
    type,
    data,
  }));
  const asides = places.filter(({ type }) => type === "presence");
  expect(asides.map(({ data }) => data)).toEqual(["1", "3"]);
  for (const aside of asides) expect(aside.id).toBe(places[places.indexOf(aside) - 1]?.id);
  expect(places.filter(({ type }) => type === "assistant.message")).toHaveLength(101);
  feed.aside("presence", Buffer.from("4"));
});

test("silence is broken by comments, and only silence", async () => {
  const { clock, feed, tell } = setUp();
  feed.body.setEncoding("utf8");
  let text = "";
  feed.body.on("data", (chunk) => {
    text += chunk;
  });
  await turn();
  clock.advance(14_999);
  tell(entry(1));
  await turn();
  clock.advance(14_999);
  await turn();
  expect(text).not.toContain(":\u0020heartbeat");
  clock.advance(1);
  await turn();
  clock.advance(15_000);
  await turn();
  expect(text.match(/^: heartbeat$/gm)).toHaveLength(2);
  feed.body.destroy();
  await feed.closed;
  expect(clock.pending).toBe(0);
});

test("no more is taken than the client takes, and nothing is lost when it takes on", async () => {
  const { feed, many, taken } = setUp(10_000);
  many(100);
  await turn();
  expect(taken()).toBeLessThan(10);
  const reading = rest(feed.body);
  await turn();
  feed.end(gone);
  expect((await reading).match(/^event: assistant\.message$/gm)).toHaveLength(taken());
  expect(taken()).toBe(100);
});

test("a client that takes nothing for a minute is told to resume, and cut", async () => {
  const { clock, feed, many } = setUp(10_000);
  many(100);
  await turn();
  clock.advance(59_999);
  expect(feed.body.readableEnded).toBe(false);
  clock.advance(1);
  await turn();
  clock.advance(9_999);
  expect(feed.body.destroyed).toBe(false);
  clock.advance(1);
  await feed.closed;
  expect(clock.pending).toBe(0);
});

test("a slow client learns where to resume when it reads what is left", async () => {
  const { clock, feed, many } = setUp(10_000);
  many(100);
  await turn();
  clock.advance(60_000);
  const text = await rest(feed.body);
  const ids = [...text.matchAll(/^id: (\S+)$/gm)].map(([, id]) => id);
  expect(text).toMatch(/event: stream\.closed\ndata: \{"code":"slow_consumer"/);
  expect(ids.at(-1)).toBe(ids.at(-2));
});
