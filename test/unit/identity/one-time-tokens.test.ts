import { describe, expect, it } from "vitest";
import { createIdentity } from "../../../src/identity/identity.ts";
import { createOneTimeTokens } from "../../../src/identity/one-time-tokens.ts";
import { ManualClock } from "../../support/manual-clock.ts";

const alice = { tenant: "acme", user: "alice", roles: ["user"] } as const;

describe("a one-time token", () => {
  it("is good for its principal, once", () => {
    const tokens = createOneTimeTokens(new ManualClock());
    const first = tokens.issue(alice).reveal();
    const second = tokens.issue({ ...alice, user: "bob" }).reveal();
    expect(first).not.toBe(second);
    expect(tokens.redeem(first)).toEqual(alice);
    expect(tokens.redeem(first)).toBeUndefined();
    expect(tokens.redeem(`${second}x`)).toBeUndefined();
    expect(tokens.redeem(second)).toMatchObject({ user: "bob" });
  });

  it("is good for half a minute", () => {
    const clock = new ManualClock();
    const tokens = createOneTimeTokens(clock);
    const early = tokens.issue(alice).reveal();
    const late = tokens.issue(alice).reveal();
    clock.advance(29_999);
    expect(tokens.redeem(early)).toEqual(alice);
    clock.advance(1);
    expect(tokens.redeem(late)).toBeUndefined();
  });

  it("is refused when too many are unused, until they are used or old", () => {
    const clock = new ManualClock();
    const tokens = createOneTimeTokens(clock);
    for (let count = 0; count < 10_000; count++) tokens.issue(alice);
    expect(() => tokens.issue(alice)).toThrow(expect.objectContaining({ code: "rate_limited" }));
    clock.advance(30_000);
    expect(tokens.redeem(tokens.issue(alice).reveal())).toEqual(alice);
  });

  it("is taken by the node's identity before keys are looked up", async () => {
    const nothing = new Proxy({} as never, {
      get: () => async () => undefined,
    });
    const store = { keys: nothing, browserSessions: nothing };
    const identity = createIdentity({ keys: [], store, clock: new ManualClock() });
    const token = identity.oneTimeToken(alice).reveal();
    expect(await identity.authenticate(token)).toEqual({ principal: alice, keyId: "embedded" });
    await expect(identity.authenticate(token)).rejects.toMatchObject({ code: "unauthenticated" });
  });
});
