import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import type { RetireReason, Runtime } from "../../src/fleet/fleet.ts";
import { systemClock } from "../../src/kernel/clock.ts";
import { eventually, within } from "../support/wait.ts";
import { createSession, isAlive, testFleet, user } from "./fixtures/fleet.ts";

const recycle = { turns: 2_000, memoryBytes: 1024 ** 3, ageMs: 86_400_000 };

/** What the fleet tells of worn out runtimes. */
const worn = () => {
  const told: { runtime: Runtime; reason: RetireReason }[] = [];
  return { told, onWorn: (runtime: Runtime, reason: RetireReason) => void told.push({ runtime, reason }) };
};

test("a runtime that stands still is noticed and gone within interval and deadline, and its unit gets another", async () => {
  const probeEveryMs = 200;
  await using t = await testFleet({ probeEveryMs });
  const runtime = await t.fleet.runtimeFor(user("a"));
  const bystander = await t.fleet.runtimeFor(user("b"));
  await createSession(runtime, "s1");
  process.kill(runtime.pid, "SIGSTOP");
  await eventually(() => readFileSync(`/proc/${runtime.pid}/stat`, "latin1").includes(") T "), {
    what: "it is stopped",
  });
  const began = performance.now();
  const pending = runtime.peer.request("session.metadata.snapshot", { sessionId: "s1" });
  const settled = expect(pending).rejects.toMatchObject({ code: "connection_closed" });
  await within(runtime.closed, { what: "it is noticed", deadlineMs: 15_000 });
  // The deadline of a probe is five seconds; the rest is for a busy machine.
  expect(performance.now() - began).toBeLessThan(probeEveryMs + 5_000 + 2_000);
  await settled;
  expect(isAlive(runtime.pid)).toBe(false);
  expect(isAlive(bystander.pid)).toBe(true);
  expect(t.closed).toEqual([runtime]);
  expect((await t.fleet.runtimeFor(user("a"))).pid).not.toBe(runtime.pid);
  expect(await t.metrics.text()).toContain('squadron_runtime_recycles_total{reason="unresponsive"} 1');
}, 30_000);

test("turns wear a runtime out: it is told at each probe, and it runs on until somebody ends it", async () => {
  const { told, onWorn } = worn();
  await using t = await testFleet({ probeEveryMs: 20, recycle: { ...recycle, turns: 3 } }, { onWorn });
  const runtime = await t.fleet.runtimeFor(user("a"));
  for (let turn = 0; turn < 2; turn++) t.fleet.turnBegan(runtime)();
  await eventually(() => t.fleet.list()[0]?.memoryBytes !== undefined, { what: "a probe" });
  expect(told).toEqual([]);
  t.fleet.turnBegan(runtime)();
  await eventually(() => told.length >= 2, { what: "told again" });
  expect(told[0]).toEqual({ runtime, reason: "turns" });
  expect(t.fleet.find("user/acme/a")).toBe(runtime);
  expect(t.fleet.list()[0]).toMatchObject({ state: "ready", turns: 3 });
  t.fleet.retire(runtime);
  expect(t.fleet.list()[0]).toMatchObject({ state: "retiring", reason: "turns" });
  const fresh = await t.fleet.runtimeFor(user("a"));
  for (let turn = 0; turn < 3; turn++) t.fleet.turnBegan(fresh)();
  await runtime.kill();
  await eventually(() => told.some((one) => one.runtime === fresh), { what: "the next one is told of" });
  expect(await t.metrics.text()).toContain('squadron_runtime_recycles_total{reason="turns"} 1');
});

test("so do memory and age, as the system tells them", async () => {
  const { told, onWorn } = worn();
  const limits = { ...recycle, memoryBytes: 1_000_000 };
  await using t = await testFleet({ probeEveryMs: 20, recycle: limits }, { onWorn });
  await t.fleet.runtimeFor(user("a"));
  await eventually(() => told[0], { what: "told of memory" });
  expect(told[0]?.reason).toBe("memory");

  const aged = worn();
  let passed = 0;
  const clock = { ...systemClock, monotonic: () => systemClock.monotonic() + passed };
  await using other = await testFleet({ probeEveryMs: 20 }, { onWorn: aged.onWorn, clock });
  await other.fleet.runtimeFor(user("a"));
  passed = recycle.ageMs;
  await eventually(() => aged.told[0], { what: "told of age" });
  expect(aged.told[0]?.reason).toBe("age");
});

test("over the memory of the fleet there are no spares, and runtimes are replaced", async () => {
  const { told, onWorn } = worn();
  // What a process takes depends on how many others share its pages; this is less than any.
  const memoryBytes = 1024 ** 2;
  await using t = await testFleet({ probeEveryMs: 20, spares: 2, memoryBytes }, { onWorn });
  const runtime = await t.fleet.runtimeFor(user("a"));
  await eventually(() => told[0], { what: "told of the budget" });
  expect(told[0]).toEqual({ runtime, reason: "memory_budget" });
  expect(t.fleet.list().map(({ state }) => state)).toEqual(["ready"]);
});
