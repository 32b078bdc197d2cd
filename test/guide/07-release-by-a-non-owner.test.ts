import { expect, test } from "vitest";
import { startRedis } from "../support/redis.ts";
import { startTestNode } from "../support/test-node.ts";
import { eventually } from "../support/wait.ts";
import { type GuideRedis, withSessionLock } from "./guide-way.ts";

const key = "session-lock:team";

test("the guide's release looks first and deletes then: what it deletes may be somebody else's lock", async () => {
  await using server = await startRedis();
  const redis = server.connect();
  const second = Promise.withResolvers<void>();
  const inside: string[] = [];
  const most: number[] = [];
  const enter = (name: string): void => {
    inside.push(name);
    most.push(inside.length);
  };
  const leave = (name: string): void => void inside.splice(inside.indexOf(name), 1);

  let working: Promise<void> | undefined;
  /** The first one's connection is slow between its two commands, and its lock runs out. */
  const slow: GuideRedis = {
    set: redis.set.bind(redis),
    del: redis.del.bind(redis),
    async get(name: string) {
      const seen = await redis.get(name);
      await eventually(async () => (await redis.exists(key)) === 0, { what: "the lock has run out" });
      working = withSessionLock(redis, "team", async () => {
        enter("second");
        await second.promise;
        leave("second");
      });
      await eventually(() => inside.includes("second"), { what: "the second one has the lock" });
      return seen;
    },
  };
  await withSessionLock(slow, "team", async () => undefined, 1);
  expect(inside).toEqual(["second"]);
  // Nothing keeps a third one out now.
  await withSessionLock(redis, "team", async () => {
    enter("third");
    leave("third");
  });
  expect(Math.max(...most)).toBe(2);
  second.resolve();
  await working;
});

test("ours gives up its own lease only, whatever has become of it meanwhile", async () => {
  await using node = await startTestNode();
  const { leases } = node.node.store;
  const claim = (token: string, now: number) => ({
    name: "team",
    token,
    holder: token,
    now,
    until: now + 1_000,
  });
  expect(await leases.take(claim("first", 0))).toEqual({ kind: "taken" });
  // The first one's time is over, and the second has it.
  expect(await leases.take(claim("second", 1_000))).toEqual({ kind: "taken" });
  await leases.drop({ name: "team", token: "first" });
  expect(await leases.take(claim("third", 1_500))).toEqual({ kind: "held", until: 2_000 });
  await leases.drop({ name: "team", token: "second" });
  expect(await leases.take(claim("third", 1_500))).toEqual({ kind: "taken" });
});
