import { expect, test } from "vitest";
import type { Runtime } from "../../../src/fleet/fleet.ts";
import { createTurnGate } from "../../../src/gateway/turn-gate.ts";
import { settle } from "./fake-node.ts";

const setUp = (waits: { readonly emptied?: Promise<void>; readonly leaving?: Promise<void> } = {}) => {
  const seen: string[] = [];
  const gate = createTurnGate({
    unitKey: "unit",
    residence: { mayBegin: (key) => (key === "unit" ? waits.emptied : undefined) },
    fleet: {
      turnBegan: ({ id }) => {
        seen.push(`began in ${id}`);
        return () => seen.push(`ended in ${id}`);
      },
    },
    stay: {
      leaving: waits.leaving,
      // Its session must be known to be idle before others can empty the runtime.
      idleAgain: () => seen.push(`idle, holding: ${gate.holding}`),
    },
  });
  return { gate, seen };
};

test("a turn passes at once when nothing empties its unit's runtime", async () => {
  const { gate, seen } = setUp();
  const passed = gate.pass();
  expect(gate.holding).toBe(false);
  await passed;
  expect(seen).toEqual([]);
});

test("a turn waits until the runtime is emptied and its session has left, and is no work of the session meanwhile", async () => {
  const emptied = Promise.withResolvers<void>();
  const leaving = Promise.withResolvers<void>();
  const { gate, seen } = setUp({ emptied: emptied.promise, leaving: leaving.promise });
  let passed = false;
  const pass = gate.pass().then(() => {
    passed = true;
  });
  expect(seen).toEqual(["idle, holding: true"]);
  emptied.resolve();
  await settle();
  expect({ passed, holding: gate.holding }).toEqual({ passed: false, holding: true });
  leaving.resolve();
  await pass;
  expect(gate.holding).toBe(false);
});

test("a turn that could not wait does not hold the session for idle", async () => {
  const { gate } = setUp({ emptied: Promise.reject(new Error("closing")) });
  await expect(gate.pass()).rejects.toThrow("closing");
  expect(gate.holding).toBe(false);
});

test("the fleet hears of a turn once, where it began, and of its end once", () => {
  const { gate, seen } = setUp();
  const runtime = (id: string): Runtime => ({ id }) as Partial<Runtime> as Runtime;
  gate.left();
  gate.entered(runtime("one"));
  gate.entered(runtime("two"));
  gate.left();
  gate.left();
  gate.entered(runtime("two"));
  expect(seen).toEqual(["began in one", "ended in one", "began in two"]);
});
