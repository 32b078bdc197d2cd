import { describe, expect, it, vi } from "vitest";
import { createIdentity } from "../../../src/identity/identity.ts";
import { createStreamTickets } from "../../../src/identity/stream-tickets.ts";
import type { KeyRow, Store } from "../../../src/store/store.ts";
import { ManualClock } from "../../support/manual-clock.ts";

const caller = (user: string) => ({
  principal: { tenant: "acme", user, roles: ["user" as const] },
  keyId: `key_${user}`,
});
const nothing = (): void => undefined;

describe("a ticket for an event stream", () => {
  it("is its caller's, for its session alone, for a minute", () => {
    const clock = new ManualClock();
    const tickets = createStreamTickets(clock);
    const ticket = tickets.issue(caller("alice"), "ses_1").reveal();
    expect(tickets.open(ticket, "ses_2", nothing)).toBeUndefined();
    expect(tickets.open(`${ticket}x`, "ses_1", nothing)).toBeUndefined();
    clock.advance(59_999);
    expect(tickets.open(ticket, "ses_1", nothing)?.caller).toEqual(caller("alice"));
    const late = tickets.issue(caller("alice"), "ses_1").reveal();
    clock.advance(60_000);
    expect(tickets.open(late, "ses_1", nothing)).toBeUndefined();
  });

  it("opens the stream again within a minute of its end, and not for ever", () => {
    const clock = new ManualClock();
    const tickets = createStreamTickets(clock);
    const ticket = tickets.issue(caller("alice"), "ses_1").reveal();
    const first = tickets.open(ticket, "ses_1", nothing);
    clock.advance(3_600_000);
    first?.close();
    clock.advance(59_999);
    const second = tickets.open(ticket, "ses_1", nothing);
    expect(second).toBeDefined();
    second?.close();
    clock.advance(60_000);
    expect(tickets.open(ticket, "ses_1", nothing)).toBeUndefined();
    const other = tickets.issue(caller("alice"), "ses_1").reveal();
    tickets.open(other, "ses_1", nothing);
    clock.advance(12 * 3_600_000);
    expect(tickets.open(other, "ses_1", nothing)).toBeUndefined();
  });

  it("is for one stream at a time: the one before ends, and its end changes nothing", () => {
    const clock = new ManualClock();
    const tickets = createStreamTickets(clock);
    const ticket = tickets.issue(caller("alice"), "ses_1").reveal();
    const replaced = vi.fn();
    const first = tickets.open(ticket, "ses_1", replaced);
    const second = tickets.open(ticket, "ses_1", nothing);
    expect(replaced).toHaveBeenCalledOnce();
    first?.close();
    clock.advance(120_000);
    second?.close();
    expect(tickets.open(ticket, "ses_1", nothing)).toBeDefined();
  });

  it("is refused to a user who has a hundred, to nobody else", () => {
    const clock = new ManualClock();
    const tickets = createStreamTickets(clock);
    for (let at = 0; at < 100; at++) tickets.issue(caller("alice"), "ses_1");
    expect(() => tickets.issue(caller("alice"), "ses_1")).toThrow(
      expect.objectContaining({ code: "rate_limited" }),
    );
    tickets.issue(caller("bob"), "ses_1");
    clock.advance(60_000);
    tickets.issue(caller("alice"), "ses_1");
  });

  it("is nobody's once its key is revoked", async () => {
    let revokedAt: number | null = null;
    const keys = { byId: async () => ({ revokedAt }) as KeyRow, byHash: async () => undefined } as Partial<
      Store["keys"]
    > as Store["keys"];
    const browserSessions = {} as Store["browserSessions"];
    const identity = createIdentity({ keys: [], store: { keys, browserSessions }, clock: new ManualClock() });
    const ticket = identity.streamTicket(caller("alice"), "ses_1").reveal();
    (await identity.openStream(ticket, "ses_1", nothing)).close();
    revokedAt = 1;
    await expect(identity.openStream(ticket, "ses_1", nothing)).rejects.toMatchObject({
      code: "unauthenticated",
    });
    await expect(identity.authenticate(ticket)).rejects.toThrow();
  });
});
