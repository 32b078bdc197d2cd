import { describe, expect, it } from "vitest";
import { lastEventOf, storedEventsOf } from "../../../src/sessions/stored-events.ts";

const line = (id: string, type = "user.message", data: unknown = {}): string =>
  `${JSON.stringify({ type, data, id, timestamp: "2026-01-01T00:00:00Z", parentId: "parent" })}\n`;
const log = (...lines: string[]): Buffer => Buffer.from(lines.join(""));
const ids = (events: Iterable<{ readonly id: string }> | undefined): readonly string[] | undefined =>
  events && [...events].map(({ id }) => id);

describe("the stored events of a session", () => {
  it("are those after one of them, or all", () => {
    const events = storedEventsOf(log(line("a"), line("b"), line("c")));
    expect(events.last).toBe("c");
    expect(ids(events.after(undefined))).toEqual(["a", "b", "c"]);
    expect(ids(events.after("a"))).toEqual(["b", "c"]);
    expect(ids(events.after("c"))).toEqual([]);
    expect(events.after("d")).toBeUndefined();
    expect(events.after("parent")).toBeUndefined();
  });

  it("are looked for only behind another one, which must be there", () => {
    const events = storedEventsOf(log(line("a"), line("b"), line("c")));
    expect(ids(events.after("b", "a"))).toEqual(["c"]);
    expect(ids(events.after("b", "b"))).toEqual(["c"]);
    expect(events.after("a", "b")).toBeUndefined();
    expect(events.after("b", "d")).toBeUndefined();
  });

  it("have the ids of their lines, whatever was said", () => {
    const said = { content: '"id":"b"', nested: { id: "b" } };
    const events = storedEventsOf(log(line("a", "user.message", said), line("b"), line("c")));
    expect(ids(events.after("b"))).toEqual(["c"]);
  });

  it("are without what the model is told, torn lines and foreign ones", () => {
    const whole = log(
      line("a"),
      "{torn\n",
      line("s", "system.message"),
      "[]\n",
      line("b"),
      line("t", "system.message"),
    );
    const torn = Buffer.concat([whole, Buffer.from(line("c").trimEnd())]);
    expect(lastEventOf(torn)).toBe("b");
    expect(ids(storedEventsOf(torn).after(undefined))).toEqual(["a", "b"]);
    expect(storedEventsOf(torn).after("c")).toBeUndefined();
    expect(storedEventsOf(Buffer.alloc(0))).toMatchObject({ last: undefined });
  });
});
