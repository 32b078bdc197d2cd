import { expect, test } from "vitest";
import { createBackOff } from "../../../src/fleet/back-off.ts";
import { ManualClock } from "../../support/manual-clock.ts";

const pauses = (
  clock: ManualClock,
  fail: (backOff: ReturnType<typeof createBackOff>) => void,
  times: number,
) => {
  const backOff = createBackOff(clock);
  return Array.from({ length: times }, () => {
    fail(backOff);
    const pause = (backOff.retryAt("u") ?? 0) - clock.monotonic();
    clock.advance(pause);
    expect(backOff.retryAt("u")).toBeUndefined();
    return pause;
  });
};

test("each failure in a row doubles the pause, up to five seconds", () => {
  const clock = new ManualClock();
  expect(pauses(clock, (backOff) => backOff.failed("u"), 9)).toEqual([
    100, 200, 400, 800, 1_600, 3_200, 5_000, 5_000, 5_000,
  ]);
});

test("dying soon after the start counts as failing, living long does not", () => {
  const clock = new ManualClock();
  expect(pauses(clock, (backOff) => backOff.died("u", 59_999), 3)).toEqual([100, 200, 400]);
  const backOff = createBackOff(clock);
  backOff.died("u", 60_000);
  expect(backOff.retryAt("u")).toBeUndefined();
});

test("one unit's failures are nobody else's, and are forgotten after a quiet minute", () => {
  const clock = new ManualClock();
  const backOff = createBackOff(clock);
  for (let i = 0; i < 5; i++) backOff.failed("u");
  expect(backOff.retryAt("other")).toBeUndefined();
  clock.advance(60_001);
  backOff.failed("u");
  expect((backOff.retryAt("u") ?? 0) - clock.monotonic()).toBe(100);
});
