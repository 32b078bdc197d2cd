import { expect, test } from "vitest";
import { overBudget, type RuntimeFacts, verdict } from "../../../src/fleet/health.ts";
import { createTurnCounter, type TurnCounter } from "../../../src/fleet/turn-times.ts";

const limits = { turns: 2_000, memoryBytes: 1_000, ageMs: 86_400_000 };
const fresh: RuntimeFacts = { ageMs: 0, turns: { count: 0 } };
const hour = 3_600_000;

test("a runtime is worn out at each of its limits, and not before", () => {
  expect(verdict(fresh, limits)).toBeUndefined();
  const cases: [keyof typeof limits | "open_files", RuntimeFacts, RuntimeFacts][] = [
    ["turns", { ...fresh, turns: { count: 1_999 } }, { ...fresh, turns: { count: 2_000 } }],
    ["memoryBytes", { ...fresh, memoryBytes: 999 }, { ...fresh, memoryBytes: 1_000 }],
    ["ageMs", { ...fresh, ageMs: limits.ageMs - 1 }, { ...fresh, ageMs: limits.ageMs }],
    [
      "open_files",
      { ...fresh, openFiles: 79, maxOpenFiles: 100 },
      { ...fresh, openFiles: 80, maxOpenFiles: 100 },
    ],
  ];
  const reasons = { turns: "turns", memoryBytes: "memory", ageMs: "age", open_files: "open_files" };
  for (const [name, before, at] of cases) {
    expect(verdict(before, limits), name).toBeUndefined();
    expect(verdict(at, limits), name).toBe(reasons[name]);
  }
});

test("what the system does not tell wears nothing out", () => {
  expect(verdict({ ...fresh, openFiles: 1_000_000 }, limits)).toBeUndefined();
});

const alone =
  (counter: TurnCounter) =>
  (ms: number, ageMs: number): void => {
    counter.began();
    counter.ended(ms, ageMs);
  };

test("a runtime is slow when its turns take much longer than in its own first hour", () => {
  const counter = createTurnCounter();
  const run = alone(counter);
  const slow = () => verdict({ ageMs: 2 * hour, turns: counter.times }, limits);
  for (let turn = 0; turn < 100; turn++) run(200, hour / 2);
  expect(slow()).toBeUndefined();
  for (let turn = 0; turn < 20; turn++) run(5_000, 2 * hour);
  expect(slow(), "a few slow turns are the model's").toBeUndefined();
  for (let turn = 0; turn < 20; turn++) run(5_000, 2 * hour);
  expect(slow()).toBe("slow");
  for (let turn = 0; turn < 40; turn++) run(220, 2 * hour);
  expect(slow(), "it has got over it").toBeUndefined();
});

test("turns that share a runtime take longer, and that does not make it slow", () => {
  const counter = createTurnCounter();
  const run = alone(counter);
  for (let turn = 0; turn < 100; turn++) run(200, hour / 2);
  for (let round = 0; round < 30; round++) {
    for (let turn = 0; turn < 20; turn++) counter.began();
    for (let turn = 0; turn < 20; turn++) counter.ended(5_000, hour);
  }
  expect(counter.times).toEqual({ count: 700, firstMs: 200, recentMs: 200 });
  for (let turn = 0; turn < 50; turn++) run(5_000, 2 * hour);
  expect(verdict({ ageMs: 2 * hour, turns: counter.times }, limits)).toBe("slow");
});

test("three times nearly nothing is not slow, and without a first hour there is nothing to compare with", () => {
  const quick = createTurnCounter();
  const late = createTurnCounter();
  const [runQuick, runLate] = [alone(quick), alone(late)];
  for (let turn = 0; turn < 60; turn++) {
    runQuick(10, 0);
    runLate(60_000, 2 * hour);
  }
  for (let turn = 0; turn < 60; turn++) runQuick(100, 2 * hour);
  expect(verdict({ ageMs: 0, turns: quick.times }, limits)).toBeUndefined();
  expect(verdict({ ageMs: 0, turns: late.times }, limits)).toBeUndefined();
});

test("over the budget the fattest goes first, one at a time, and none while what leaves suffices", () => {
  const a = { memoryBytes: 300, leaving: false };
  const b = { memoryBytes: 500, leaving: false };
  const c = { memoryBytes: 400, leaving: false };
  expect(overBudget([a, b, c], 1_200)).toBeUndefined();
  expect(overBudget([a, b, c], 1_199)).toBe(b);
  expect(overBudget([a, { ...b, leaving: true }, c], 1_199)).toBeUndefined();
  expect(overBudget([a, { ...b, leaving: true }, c], 500)).toBe(c);
  expect(overBudget([], 0)).toBeUndefined();
});
