import { describe, expect, it } from "vitest";
import { createTurnPlaces, type TurnPlace } from "../../../src/gateway/turn-places.ts";

const of = (limits: { concurrentTurns?: number; concurrentTurnsPerUser?: number }) => ({
  turnTimeoutMs: 1,
  queueLength: 1,
  callbackTimeoutMs: 1,
  maxSizeBytes: 1,
  maxFiles: 1,
  ...limits,
});

const setUp = (given: Parameters<typeof of>[0]) => {
  const places = createTurnPlaces();
  const served: string[] = [];
  const take = (what: string, tenant = "acme"): TurnPlace =>
    places.take({ tenant, user: what.slice(0, 1) }, of(given), () => served.push(what));
  return { served, take };
};

describe("places of running turns", () => {
  it("are as many as the limit, for each tenant, and go to users by turns", () => {
    const { served, take } = setUp({ concurrentTurns: 2 });
    const running = [take("a1"), take("a2")];
    expect(running.map(({ held }) => held)).toEqual([true, true]);
    const waiting = ["a3", "a4", "a5", "b1", "b2", "c1"].map((what) => take(what));
    expect(waiting.some(({ held }) => held)).toBe(false);
    expect(take("x1", "globex").held).toBe(true);
    running[0]?.release();
    running[1]?.release();
    expect(served).toEqual(["a3", "b1"]);
    for (const at of [0, 3, 5, 1]) waiting[at]?.release();
    expect(served).toEqual(["a3", "b1", "c1", "a4", "b2", "a5"]);
  });

  it("are each user's own as well, and who may not run holds up nobody", () => {
    const { served, take } = setUp({ concurrentTurns: 3, concurrentTurnsPerUser: 2 });
    const first = take("a1");
    take("a2");
    expect(take("a3").held).toBe(false);
    expect(take("b1").held).toBe(true);
    expect(take("b2").held).toBe(false);
    first.release();
    expect(served).toEqual(["a3"]);
  });

  it("are left by who does not want one any more", () => {
    const { served, take } = setUp({ concurrentTurns: 1 });
    const first = take("a1");
    const left = take("b1");
    take("b2");
    take("c1");
    left.release();
    first.release();
    // The user's turn is not lost with it.
    expect(served).toEqual(["b2"]);
  });

  it("are without end where there is no limit", () => {
    const { take } = setUp({});
    expect(Array.from({ length: 1_000 }, () => take("a1")).every(({ held }) => held)).toBe(true);
  });
});
