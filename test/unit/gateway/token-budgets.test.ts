import { describe, expect, it } from "vitest";
import { createTokenBudgets } from "../../../src/gateway/token-budgets.ts";
import type { TokenDay } from "../../../src/store/store.ts";
import { createLog } from "../../../src/telemetry/log.ts";
import { ManualClock } from "../../support/manual-clock.ts";

const of = (limits: { tokensPerDay?: number; tokensPerDayPerUser?: number }) => ({
  turnTimeoutMs: 1,
  queueLength: 1,
  callbackTimeoutMs: 1,
  maxSizeBytes: 1,
  maxFiles: 1,
  ...limits,
});
const alice = { tenant: "acme", user: "alice" };
const bob = { tenant: "acme", user: "bob" };
const log = createLog({ level: "silent" });
const evening = Date.UTC(2026, 0, 31, 23, 59, 30);

/** What several nodes share. */
const sharedTokens = () => {
  const used: (TokenDay & { tokens: number })[] = [];
  const sum = (of: typeof used) => of.reduce((all, { tokens }) => all + tokens, 0);
  const totals = ({ day, tenant, user }: TokenDay) => {
    const all = used.filter((one) => one.day === day && one.tenant === tenant);
    return { tenant: sum(all), user: sum(all.filter((one) => one.user === user)) };
  };
  return {
    used,
    add: async (which: TokenDay, tokens: number) => {
      used.push({ ...which, tokens });
      return totals(which);
    },
    of: async (which: TokenDay) => totals(which),
  };
};

describe("the tokens of a day", () => {
  it("are used up when as many have been counted, until midnight UTC", async () => {
    const clock = new ManualClock(evening);
    const budgets = createTokenBudgets({ store: { tokens: sharedTokens() }, clock, log });
    const limits = of({ tokensPerDay: 100 });
    await budgets.assertLeft(alice, limits);
    budgets.used(alice, limits, { inputTokens: 90, outputTokens: 9 });
    await budgets.assertLeft(bob, limits);
    budgets.used(bob, limits, { inputTokens: 1, outputTokens: 0 });
    // Known at once, for the turn that runs.
    expect(budgets.spent(bob, limits)?.code).toBe("quota_exceeded");
    await expect(budgets.assertLeft(alice, limits)).rejects.toMatchObject({
      code: "quota_exceeded",
      details: { limit: "tokensPerDay", value: 100, retryAfter: 30 },
    });
    expect(budgets.spent(bob, limits)?.code).toBe("quota_exceeded");
    clock.advance(29_999);
    await expect(budgets.assertLeft(bob, limits)).rejects.toMatchObject({ details: { retryAfter: 1 } });
    clock.advance(1);
    expect(budgets.spent(bob, limits)).toBeUndefined();
    await budgets.assertLeft(alice, limits);
  });

  it("are each user's own where the limit is of a user, and another tenant's never", async () => {
    const clock = new ManualClock(evening);
    const budgets = createTokenBudgets({ store: { tokens: sharedTokens() }, clock, log });
    const limits = of({ tokensPerDayPerUser: 10 });
    budgets.used(alice, limits, { inputTokens: 5, outputTokens: 5 });
    await expect(budgets.assertLeft(alice, limits)).rejects.toMatchObject({
      details: { limit: "tokensPerDayPerUser", value: 10 },
    });
    await budgets.assertLeft(bob, limits);
    await budgets.assertLeft({ tenant: "globex", user: "alice" }, limits);
  });

  it("are counted together by nodes on one store; what one has used the other knows with its next message", async () => {
    const clock = new ManualClock(evening);
    const tokens = sharedTokens();
    const [one, other] = [1, 2].map(() => createTokenBudgets({ store: { tokens }, clock, log }));
    const limits = of({ tokensPerDay: 10 });
    one?.used(alice, limits, { inputTokens: 10, outputTokens: 0 });
    await one?.flush();
    expect(other?.spent(bob, limits)).toBeUndefined();
    await expect(other?.assertLeft(bob, limits)).rejects.toMatchObject({ code: "quota_exceeded" });
    expect(other?.spent(bob, limits)?.code).toBe("quota_exceeded");
  });

  it("are not counted without a limit", async () => {
    const tokens = sharedTokens();
    const budgets = createTokenBudgets({ store: { tokens }, clock: new ManualClock(), log });
    budgets.used(alice, of({}), { inputTokens: 10, outputTokens: 0 });
    await budgets.assertLeft(alice, of({}));
    expect(tokens.used).toEqual([]);
  });
});
