import { describe, expect, it } from "vitest";
import { createTurnRates } from "../../../src/gateway/turn-rates.ts";
import { SquadronError } from "../../../src/kernel/errors.ts";
import { KeyUsed } from "../../../src/sessions/key-used.ts";
import { ManualClock } from "../../support/manual-clock.ts";
import { startFakeNode } from "./fake-node.ts";

const of = (limits: { turnsPerMinute?: number; turnsPerMinutePerUser?: number }) => ({
  turnTimeoutMs: 60_000,
  queueLength: 10,
  callbackTimeoutMs: 1_000,
  maxSizeBytes: 1_000_000,
  maxFiles: 1_000,
  ...limits,
});
const alice = { tenant: "acme", user: "alice" };
const bob = { tenant: "acme", user: "bob" };
const carol = { tenant: "globex", user: "carol" };

const setUp = (limits: Parameters<typeof of>[0]) => {
  const clock = new ManualClock();
  const rates = createTurnRates(clock);
  return { clock, rates, take: (who: typeof alice) => rates.take(who, of(limits)) };
};

/** The seconds after which the refused one may come again. */
const refusal = async (taken: Promise<unknown>) => {
  const error: unknown = await taken.then(
    () => undefined,
    (reason) => reason,
  );
  if (!(error instanceof SquadronError)) throw new Error("It was not refused.");
  return { code: error.code, ...error.details };
};

describe("messages of a minute", () => {
  it("are no more than the limit in any 60 seconds, and a refused one is taken exactly when it was told", async () => {
    const { clock, take } = setUp({ turnsPerMinute: 3 });
    for (let sent = 0; sent < 3; sent++) {
      await take(alice);
      clock.advance(10_000);
    }
    const told = await refusal(take(bob));
    expect(told).toEqual({ code: "rate_limited", limit: "turnsPerMinute", value: 3, retryAfter: 30 });
    clock.advance(29_999);
    expect(await refusal(take(bob))).toMatchObject({ retryAfter: 1 });
    clock.advance(1);
    await take(bob);
    expect(await refusal(take(alice))).toMatchObject({ retryAfter: 10 });
    await take(carol);
  });

  it("never exceed the limit in a window, wherever it begins, when each client waits as it is told", async () => {
    const { clock, take } = setUp({ turnsPerMinute: 5 });
    const at: number[] = [];
    for (let sent = 0; sent < 60; sent++) {
      for (;;) {
        const wait = await take(alice).then(
          () => 0,
          (error: SquadronError) => Number(error.details.retryAfter),
        );
        if (wait === 0) break;
        clock.advance(wait * 1_000);
      }
      at.push(clock.monotonic());
      clock.advance((sent * 7_919) % 4_000);
    }
    for (const [first, from] of at.entries())
      expect(at.slice(first).filter((one) => one < from + 60_000).length).toBeLessThanOrEqual(5);
    // Waiting as told costs less than a second each time.
    expect((at.at(-1) ?? 0) - (at[0] ?? 0)).toBeLessThan(12 * 65_000);
  });

  it("are bounded for the user and for the tenant, and the refusal names the one that lasts longer", async () => {
    const { clock, take } = setUp({ turnsPerMinute: 3, turnsPerMinutePerUser: 2 });
    await take(bob);
    clock.advance(20_000);
    await take(alice);
    await take(alice);
    expect(await refusal(take(alice))).toMatchObject({
      limit: "turnsPerMinutePerUser",
      value: 2,
      retryAfter: 60,
    });
    expect(await refusal(take(bob))).toMatchObject({ limit: "turnsPerMinute", value: 3, retryAfter: 40 });
    clock.advance(40_000);
    await take(bob);
  });

  it("do not count when they were refused or given back", async () => {
    const { take } = setUp({ turnsPerMinute: 2 });
    await take(alice);
    const counted = await take(alice);
    for (let more = 0; more < 5; more++) await refusal(take(alice));
    counted.giveBack();
    await take(bob);
    await refusal(take(bob));
  });

  it("are not counted without a limit", async () => {
    const { take } = setUp({});
    for (let sent = 0; sent < 1_000; sent++) await take(alice);
  });

  it("do not count when an earlier request had their key", async () => {
    await using node = await startFakeNode({ limits: of({ turnsPerMinute: 3 }) });
    const connection = node.connect();
    await connection.request("session.create", { sessionId: "s" });
    const at = node.clock.now();
    const key = { tenant: "acme", user: "alice", key: "k", hash: "h", at, notBefore: at - 1_000 };
    const say = (prompt: string, more: object = {}) =>
      connection.send({ sessionId: "s", prompt }, { answer: "stored", ...more });
    await say("one", { key });
    await expect(say("one", { key })).rejects.toThrow(KeyUsed);
    await say("two");
    await say("three");
    await expect(say("four")).rejects.toMatchObject({ code: "rate_limited" });
  });
});
