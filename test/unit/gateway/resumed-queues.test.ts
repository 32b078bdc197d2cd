import { expect, test } from "vitest";
import type { Hosts } from "../../../src/gateway/hosts.ts";
import { resumeQueues } from "../../../src/gateway/resumed-queues.ts";
import type { SessionHost } from "../../../src/gateway/vocabulary.ts";
import type { Store } from "../../../src/store/store.ts";
import { createLog } from "../../../src/telemetry/log.ts";
import { ManualClock } from "../../support/manual-clock.ts";
import { eventually } from "../../support/wait.ts";

test("sessions that are never quiet keep no other from what was promised there", async () => {
  const sessions = ["a", "b", "c", "d", "e"];
  const resumed: string[] = [];
  const ends: (() => void)[] = [];
  const hostOf = (id: string): Partial<SessionHost> => {
    const { promise: ended, resolve } = Promise.withResolvers<unknown>();
    ends.push(() => resolve({}));
    return {
      resume: async () => void resumed.push(id),
      turn: { ended } as NonNullable<SessionHost["turn"]>,
      waiting: [],
      // More messages come than are answered.
      settle: () => new Promise(() => undefined),
    };
  };
  const store = {
    sessions: { byId: async (id: string) => ({ id }) },
    turns: { settleAll: async () => 0, claimable: async () => sessions },
  };
  const queues = resumeQueues({
    store: store as unknown as Store,
    hosts: { of: async ({ id }: { id: string }) => hostOf(id) } as unknown as Hosts,
    clock: new ManualClock(),
    log: createLog({ level: "silent" }),
    everyMs: 1_000,
  });
  await eventually(() => resumed.length === 4, { what: "four at once" });
  ends[0]?.();
  await eventually(() => resumed.length === 5, { what: "the fifth" });
  expect(resumed).toEqual(sessions);
  queues.stop();
});
