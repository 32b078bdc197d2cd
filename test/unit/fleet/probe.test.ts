import { expect, test } from "vitest";
import { startProbing } from "../../../src/fleet/probe.ts";
import { SquadronError } from "../../../src/kernel/errors.ts";
import type { Envelope } from "../../../src/wire/envelope.ts";
import type { Peer } from "../../../src/wire/peer.ts";
import { ManualClock } from "../../support/manual-clock.ts";

const everyMs = 5_000;

/** A runtime whose answers the test gives, one ping at a time. */
const probed = () => {
  const clock = new ManualClock();
  const pings: { answer(): void; fail(error: Error): void }[] = [];
  const peer = {
    request: (_method: string, _params: unknown, { timeoutMs = 0 } = {}) =>
      new Promise<Envelope>((resolve, reject) => {
        const cancel = clock.after(timeoutMs, () => reject(new SquadronError("timeout", "late")));
        const settle = (done: () => void) => {
          cancel();
          done();
        };
        pings.push({
          answer: () => settle(() => resolve({} as Envelope)),
          fail: (error) => settle(() => reject(error)),
        });
      }),
  } as Partial<Peer> as Peer;
  const told = { answers: 0, silences: 0 };
  const stop = startProbing({
    peer,
    clock,
    everyMs,
    onAnswer: async () => {
      told.answers++;
    },
    onSilence: () => {
      told.silences++;
    },
  });
  return { clock, pings, told, stop };
};

/** Lets everything run that waits for no timer. */
const settled = () => new Promise((resolve) => setImmediate(resolve));

test("it asks at once, and again each interval after the last question", async () => {
  const { clock, pings, told } = probed();
  expect(pings).toHaveLength(1);
  clock.advance(1_000);
  pings[0]?.answer();
  await settled();
  expect(told.answers).toBe(1);
  clock.advance(everyMs - 1_001);
  expect(pings).toHaveLength(1);
  clock.advance(1);
  expect(pings).toHaveLength(2);
});

test("an error is an answer too", async () => {
  const { pings, told } = probed();
  pings[0]?.fail(new SquadronError("method_unknown", "ping?"));
  await settled();
  expect(told).toEqual({ answers: 1, silences: 0 });
});

test("silence is told once, within interval and deadline, and is the end", async () => {
  const { clock, pings, told } = probed();
  pings[0]?.answer();
  await settled();
  clock.advance(everyMs + 5_000);
  await settled();
  expect(told.silences).toBe(1);
  clock.advance(100_000);
  await settled();
  expect(pings).toHaveLength(2);
  expect(told.silences).toBe(1);
});

test("when it was us who stood still, the runtime is asked again before it is killed", async () => {
  const { clock, pings, told } = probed();
  // A process that is continued after a long stop finds its timers due before it has read what was answered.
  const late = clock.monotonic.bind(clock);
  clock.monotonic = () => late() + 60_000;
  clock.advance(5_000);
  await settled();
  expect(told.silences).toBe(0);
  clock.monotonic = late;
  clock.advance(0);
  expect(pings).toHaveLength(2);
  pings[1]?.answer();
  await settled();
  expect(told).toEqual({ answers: 1, silences: 0 });
});

test("a connection that has closed is not silence, and nothing is asked after the end", async () => {
  const closed = probed();
  closed.pings[0]?.fail(new SquadronError("connection_closed", "closed"));
  const stopped = probed();
  stopped.pings[0]?.answer();
  await settled();
  stopped.stop();
  for (const { clock } of [closed, stopped]) clock.advance(100_000);
  await settled();
  expect(closed.told).toEqual({ answers: 0, silences: 0 });
  expect(closed.pings).toHaveLength(1);
  expect(stopped.pings).toHaveLength(1);
});
