import fc from "fast-check";
import { expect, test } from "vitest";
import { type Life, type LifeEvent, newLife, nextLife } from "../../../src/fleet/life.ts";

const exit = { code: null, signal: "SIGKILL" } as const;
const after = (...events: LifeEvent[]): Life => events.reduce(nextLife, newLife);
const answered: LifeEvent = { kind: "answered" };
const bind: LifeEvent = { kind: "bind" };
const populated: LifeEvent = { kind: "populated" };
const retire: LifeEvent = { kind: "retire", reason: "age" };
const exited: LifeEvent = { kind: "exited", exit };

test("the usual life", () => {
  expect(after()).toEqual({ state: "starting" });
  expect(after(answered)).toEqual({ state: "spare" });
  expect(after(answered, bind)).toEqual({ state: "binding" });
  expect(after(answered, bind, populated)).toEqual({ state: "ready" });
  expect(after(answered, bind, populated, retire)).toEqual({ state: "retiring", reason: "age" });
  expect(after(answered, bind, populated, retire, { kind: "stop", reason: "released" })).toEqual({
    state: "stopping",
    reason: "released",
  });
  expect(after(answered, bind, populated, { kind: "stop", reason: "released" }, exited)).toEqual({
    state: "gone",
    reason: "released",
    exit,
  });
});

test("what comes too early or too late changes nothing", () => {
  expect(after({ kind: "stop", reason: "closing" }, answered).state).toBe("stopping");
  expect(after(bind).state).toBe("starting");
  expect(after(answered, populated).state).toBe("spare");
  expect(after(answered, bind, retire).state).toBe("binding");
  expect(after(answered, bind, populated, bind).state).toBe("ready");
  expect(after(answered, bind, populated, retire, { kind: "retire", reason: "slow" })).toMatchObject({
    reason: "age",
  });
});

test("the first reason stays", () => {
  const life = after({ kind: "stop", reason: "released" }, { kind: "stop", reason: "closing" }, exited);
  expect(life).toMatchObject({ reason: "released" });
});

test("a process that nobody stopped ended by itself", () => {
  expect(after(answered, exited)).toMatchObject({ state: "gone", reason: "by_itself" });
  expect(after(exited)).toMatchObject({ state: "gone", reason: "by_itself" });
});

test("no sequence of events goes back, and gone is the end", () => {
  const order = ["starting", "spare", "binding", "ready", "retiring", "stopping", "gone"];
  const event = fc.constantFrom<LifeEvent>(
    answered,
    bind,
    populated,
    retire,
    exited,
    { kind: "stop", reason: "released" },
    { kind: "stop", reason: "start_failed" },
    { kind: "stop", reason: "by_itself" },
  );
  fc.assert(
    fc.property(fc.array(event, { maxLength: 16 }), (events) => {
      let life: Life = newLife;
      for (const next of events) {
        const before = life;
        life = nextLife(life, next);
        expect(order.indexOf(life.state)).toBeGreaterThanOrEqual(order.indexOf(before.state));
        if (before.state === "gone") expect(life).toBe(before);
      }
      if (events.some(({ kind }) => kind === "exited")) expect(life.state).toBe("gone");
    }),
  );
});
