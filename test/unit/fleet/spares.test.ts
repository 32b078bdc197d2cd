import { expect, test } from "vitest";
import { type Life, newLife, nextLife, type StopReason } from "../../../src/fleet/life.ts";
import type { RuntimeLife } from "../../../src/fleet/runtime.ts";
import { createSpares } from "../../../src/fleet/spares.ts";
import { ManualClock } from "../../support/manual-clock.ts";

interface FakeLife {
  readonly life: RuntimeLife;
  answer(): void;
  fail(): void;
  stopped: StopReason | undefined;
}

const fakeLife = (): FakeLife => {
  let state: Life = newLife;
  const answered = Promise.withResolvers<void>();
  const gone = Promise.withResolvers<void>();
  answered.promise.catch(() => undefined);
  const fake: FakeLife = {
    life: {
      answered: answered.promise,
      gone: gone.promise,
      get life() {
        return state;
      },
      stop: async (reason: StopReason) => {
        fake.stopped = reason;
        state = nextLife(state, { kind: "stop", reason });
        gone.resolve();
      },
    } as Partial<RuntimeLife> as RuntimeLife,
    answer: () => {
      state = nextLife(state, { kind: "answered" });
      answered.resolve();
    },
    fail: () => {
      state = nextLife(state, { kind: "stop", reason: "start_failed" });
      answered.reject(new Error("no start"));
      gone.resolve();
    },
    stopped: undefined,
  };
  return fake;
};

const sparesOf = (count: number) => {
  const clock = new ManualClock();
  const started: FakeLife[] = [];
  const state = { wanted: count, refusing: false };
  const spares = createSpares({
    clock,
    wanted: () => state.wanted,
    start: () => {
      if (state.refusing) throw new Error("no start now");
      const fake = fakeLife();
      started.push(fake);
      return fake.life;
    },
    onStopFailure: (error) => {
      throw error;
    },
  });
  spares.adjust();
  return { clock, started, state, spares };
};

const settled = () => new Promise((resolve) => setImmediate(resolve));

test("they are started one after the other, up to what is wanted", async () => {
  const { started, spares } = sparesOf(2);
  spares.adjust();
  expect(started).toHaveLength(1);
  started[0]?.answer();
  await settled();
  expect(started).toHaveLength(2);
  started[1]?.answer();
  await settled();
  expect(started).toHaveLength(2);
});

test("one that has answered is taken first, and replaced a little later", async () => {
  const { clock, started, spares } = sparesOf(2);
  started[0]?.answer();
  await settled();
  expect(spares.take()).toBe(started[0]?.life);
  expect(spares.take(), "better one that starts than none").toBe(started[1]?.life);
  expect(spares.take()).toBeUndefined();
  spares.adjust();
  expect(started).toHaveLength(2);
  clock.advance(250);
  expect(started).toHaveLength(3);
});

test("what there is no room for any more is killed, the one that still starts first", async () => {
  const { started, state, spares } = sparesOf(2);
  started[0]?.answer();
  await settled();
  state.wanted = 1;
  spares.adjust();
  expect(started.map(({ stopped }) => stopped)).toEqual([undefined, "surplus"]);
  state.wanted = 0;
  spares.adjust();
  expect(started[0]?.stopped).toBe("surplus");
});

test("a start that fails is tried again at growing intervals, up to thirty seconds", async () => {
  const { clock, started } = sparesOf(1);
  for (const pause of [500, 1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000]) {
    const count = started.length;
    started.at(-1)?.fail();
    await settled();
    clock.advance(pause - 1);
    expect(started).toHaveLength(count);
    clock.advance(1);
    expect(started).toHaveLength(count + 1);
  }
  started.at(-1)?.answer();
  await settled();
  expect(clock.pending).toBe(0);
});

test("a start that is not allowed now is tried again, and one that dies later is replaced", async () => {
  const { clock, started, state, spares } = sparesOf(0);
  state.wanted = 1;
  state.refusing = true;
  spares.adjust();
  clock.advance(250);
  state.refusing = false;
  clock.advance(250);
  expect(started).toHaveLength(1);
  started[0]?.answer();
  await settled();
  await started[0]?.life.stop("unresponsive");
  await settled();
  clock.advance(250);
  expect(started).toHaveLength(2);
});

test("after close none is started", () => {
  const { clock, started, spares } = sparesOf(1);
  spares.take();
  spares.close();
  clock.advance(100_000);
  spares.adjust();
  expect(started).toHaveLength(1);
});
