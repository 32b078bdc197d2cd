import { expect, test } from "vitest";
import { parsePosition } from "../../../src/gateway/event-position.ts";
import { createEventRing } from "../../../src/gateway/event-ring.ts";
import { createToldHistory } from "../../../src/gateway/told-history.ts";
import { createUnkeptEvents } from "../../../src/gateway/unkept-events.ts";
import { type StoredEvents, startOfHistory, storedEventsOf } from "../../../src/sessions/stored-events.ts";

const stored = (...ids: string[]): StoredEvents =>
  storedEventsOf(
    Buffer.from(ids.map((id) => `${JSON.stringify({ type: "assistant.message", id, data: {} })}\n`).join("")),
  );

const setUp = () => {
  const ring = createEventRing({ entries: 100, bytes: 10_000 });
  const history = createToldHistory({
    ring,
    unkept: createUnkeptEvents(10_000),
    followed: () => true,
    show: (event) => event,
    onCaughtUp: () => undefined,
  });
  history.restored(startOfHistory);
  return {
    history,
    tell: (id: string) => history.tell("assistant.message", id, () => Buffer.from("{}")),
    /** What readers get: events by their ids, `<to` where it is taken back. */
    get heard(): string[] {
      return Array.from({ length: ring.next - 1 }, (_, index) => {
        const entry = ring.at(index + 1);
        const told = entry && parsePosition(entry.id)?.told;
        return entry?.type === "stream.rewind" ? `<${told}` : String(told);
      });
    },
  };
};

test("what was told before its time is told again behind what was stored, and waits for the next commit", () => {
  const world = setUp();
  for (const id of ["early", "first"]) world.tell(id);
  world.history.stored("first", stored("first"));
  expect(world.heard).toEqual(["early", "first", "<start", "first", "early"]);
  expect(world.history).toMatchObject({ kept: "first", moving: true });
  world.history.stored("early", stored("early"));
  expect(world.heard).toHaveLength(5);
  expect(world.history).toMatchObject({ kept: "early", moving: false });
});

test("what the next commit has not stored either is taken back for good", () => {
  const world = setUp();
  for (const id of ["never", "first"]) world.tell(id);
  world.history.stored("first", stored("first"));
  world.tell("second");
  world.history.stored("second", stored("second"));
  expect(world.heard.slice(5)).toEqual(["second", "<first", "second"]);
  expect(world.history).toMatchObject({ kept: "second", moving: false });
});
