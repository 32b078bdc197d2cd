import { expect, test } from "vitest";
import { createBreaker } from "../../../src/fleet/circuit.ts";
import { SquadronError } from "../../../src/kernel/errors.ts";
import { createLog } from "../../../src/telemetry/log.ts";
import { ManualClock } from "../../support/manual-clock.ts";

const silent = createLog({ level: "silent" });
const failure = new SquadronError("runtime_start_failed", "failed", {
  cause: Object.assign(new Error("spawn /secret/place ENOENT"), { code: "ENOENT" }),
});
const givenUp = new SquadronError("runtime_gone", "given up");

const broken = (clock: ManualClock) => {
  const breaker = createBreaker({ clock, log: silent });
  for (let start = 0; start < 5; start++) {
    breaker.begin();
    breaker.failed(failure);
  }
  return breaker;
};

test("five failed starts in a row end the starts; one that succeeds between them does not let it come to that", () => {
  const clock = new ManualClock();
  const breaker = createBreaker({ clock, log: silent });
  for (let start = 0; start < 20; start++) {
    breaker.begin();
    if (start % 5 === 4) breaker.succeeded();
    else breaker.failed(failure);
  }
  expect(breaker.condition).toEqual({ kind: "ok" });
  const failing = broken(clock);
  expect(() => failing.begin()).toThrow(
    expect.objectContaining({ code: "runtime_start_failed", details: { retryAfter: 1 } }),
  );
});

test("the condition tells since when, why, and when it is tried again, but no path", () => {
  const clock = new ManualClock();
  const breaker = broken(clock);
  const since = clock.now();
  clock.advance(400);
  expect(breaker.condition).toEqual({
    kind: "failing",
    since,
    reason: "The last starts of a runtime all failed: ENOENT",
    retryAt: since + 1_000,
  });
});

test("then one trial at a time decides, at growing intervals", () => {
  const clock = new ManualClock();
  const breaker = broken(clock);
  for (const seconds of [1, 2, 4, 8, 16, 30, 30]) {
    clock.advance(seconds * 1_000 - 1);
    expect(() => breaker.begin()).toThrow();
    clock.advance(1);
    breaker.begin();
    expect(() => breaker.begin(), "a second trial beside the first").toThrow();
    breaker.failed(failure);
  }
  clock.advance(30_000);
  breaker.begin();
  breaker.succeeded();
  expect(breaker.condition).toEqual({ kind: "ok" });
  breaker.begin();
  breaker.begin();
});

test("a trial that is given up leaves room for another", () => {
  const clock = new ManualClock();
  const breaker = broken(clock);
  clock.advance(1_000);
  breaker.begin();
  breaker.failed(givenUp);
  breaker.begin();
  expect(breaker.condition.kind).toBe("failing");
});

test("starts that are given up are no failures", () => {
  const breaker = createBreaker({ clock: new ManualClock(), log: silent });
  for (let start = 0; start < 20; start++) {
    breaker.begin();
    breaker.failed(givenUp);
  }
  expect(breaker.condition).toEqual({ kind: "ok" });
});
