import { describe, expect, it, vi } from "vitest";
import { createLivePlaces, type LivePlaces, type Resident } from "../../../src/gateway/live-places.ts";
import { ManualClock } from "../../support/manual-clock.ts";
import { settle } from "./fake-node.ts";

interface Traits {
  readonly tenant?: string;
  readonly tenantLimit?: number;
  readonly unitKey?: string;
}

interface Session extends Resident {
  lastUsedAt: number;
  evictable: boolean;
  /** Stays although it is asked to go, as one does that got work meanwhile or cannot be stored. */
  stays: boolean;
}

const setUp = (given: { limit?: number; maxRuntimes?: number } = {}) => {
  const clock = new ManualClock();
  const evicted: string[] = [];
  const served: string[] = [];
  const bound = new Set<string>();
  const freeRuntime = vi.fn(async () => false);
  const onEvicted = vi.fn();
  const places: LivePlaces = createLivePlaces({
    clock,
    limit: given.limit ?? 2,
    maxRuntimes: given.maxRuntimes ?? 100,
    boundUnits: () => [...bound],
    freeRuntime,
    onEvicted,
  });
  const session = (name: string, traits: Traits = {}): Session => {
    const one: Session = {
      tenant: traits.tenant ?? "acme",
      tenantLimit: traits.tenantLimit,
      unitKey: traits.unitKey ?? name,
      lastUsedAt: clock.monotonic(),
      evictable: false,
      stays: false,
      async evict() {
        evicted.push(name);
        if (!one.stays) places.leave(one);
      },
    };
    return one;
  };
  /** Notes the name when it has got its place. */
  const take = (name: string, one: Resident): Promise<void> =>
    places.take(one).then(() => void served.push(name));
  /** One that has its place already. */
  const live = async (name: string, traits?: Traits): Promise<Session> => {
    const one = session(name, traits);
    await places.take(one);
    return one;
  };
  const idle = (one: Session, lastUsedAt: number): void => {
    one.lastUsedAt = lastUsedAt;
    one.evictable = true;
    places.changed();
  };
  return { clock, places, bound, freeRuntime, onEvicted, evicted, served, session, take, live, idle };
};

describe("places for live sessions", () => {
  it("are given at once while there are any, and a session needs only one", async () => {
    const { places, live, session, take } = setUp();
    const one = await live("one");
    await places.take(one);
    await take("two", session("two"));
    expect([places.taken, places.waiting]).toEqual([2, 0]);
  });

  it("are taken from the least recently used session, never from a busy one", async () => {
    const { places, live, idle, session, take, evicted, onEvicted } = setUp({ limit: 3 });
    const [busy, older, newer] = [await live("busy"), await live("older"), await live("newer")];
    busy.lastUsedAt = 0;
    idle(newer, 20);
    idle(older, 10);
    await take("next", session("next"));
    expect(evicted).toEqual(["older"]);
    await take("another", session("another"));
    expect(evicted).toEqual(["older", "newer"]);
    expect(onEvicted.mock.calls).toEqual([["sessions"], ["sessions"]]);
    const waiting = take("third", session("third"));
    await settle();
    expect([evicted.length, places.taken, places.waiting]).toEqual([2, 3, 1]);
    places.leave(busy);
    await waiting;
  });

  it("are taken from the next one when the oldest stays", async () => {
    const { live, idle, session, take, evicted } = setUp();
    const [oldest, newer] = [await live("oldest"), await live("newer")];
    oldest.stays = true;
    idle(oldest, 1);
    idle(newer, 2);
    await take("next", session("next"));
    expect(evicted).toEqual(["oldest", "newer"]);
  });

  it("go to waiting tenants in turn, and in each tenant to who came first", async () => {
    const { places, live, session, take, served } = setUp({ limit: 1 });
    let holder: Session = await live("holder");
    const waiters = [
      ["noisy 1", "noisy"],
      ["noisy 2", "noisy"],
      ["noisy 3", "noisy"],
      ["quiet 1", "quiet"],
      ["quiet 2", "quiet"],
      ["other 1", "other"],
    ].map(([name = "", tenant = ""]) => ({ name, session: session(name, { tenant }) }));
    const all = Promise.all(waiters.map((waiter) => take(waiter.name, waiter.session)));
    await settle();
    expect(served).toEqual([]);
    for (const _ of waiters) {
      places.leave(holder);
      await settle();
      const [last] = served.slice(-1);
      holder = waiters.find(({ name }) => name === last)?.session ?? holder;
    }
    await all;
    expect(served).toEqual(["noisy 1", "quiet 1", "other 1", "noisy 2", "quiet 2", "noisy 3"]);
  });

  it("of a tenant are bounded by its own limit, at the cost of its own sessions only", async () => {
    const { live, idle, session, take, places, evicted, served, onEvicted } = setUp({ limit: 10 });
    const foreign = await live("foreign", { tenant: "globex" });
    idle(foreign, 0);
    const limited = { tenantLimit: 1 };
    const own = await live("own", limited);
    const next = take("next", session("next", limited));
    await take("of the other tenant", session("third", { tenant: "globex" }));
    expect(served).toEqual(["of the other tenant"]);
    idle(own, 5);
    await next;
    expect([evicted, onEvicted.mock.calls, places.taken]).toEqual([["own"], [["tenant"]], 3]);
  });

  it("include the runtime that the session needs: one with idle sessions is ended for it", async () => {
    const { live, session, take, bound, freeRuntime, served, places, onEvicted } = setUp({
      limit: 10,
      maxRuntimes: 1,
    });
    const first = await live("first", { unitKey: "unit" });
    bound.add("unit");
    const second = session("second", { unitKey: "unit" });
    await take("same unit", second);
    const other = take("other unit", session("third", { unitKey: "other" }));
    await settle();
    expect([served, places.waiting]).toEqual([["same unit"], 1]);
    freeRuntime.mockImplementation(async () => {
      bound.clear();
      places.leave(first);
      places.leave(second);
      return true;
    });
    places.changed();
    await other;
    expect([onEvicted.mock.calls, places.taken]).toEqual([[["runtimes"]], 1]);
  });
});

describe("who waits for a place", () => {
  it("is refused after a while, with the time after which to try again", async () => {
    const { clock, places, live, session } = setUp({ limit: 1 });
    const holder = await live("holder");
    const waiting = places.take(session("late"));
    clock.advance(9_999);
    await settle();
    expect(places.waiting).toBe(1);
    clock.advance(1);
    await expect(waiting).rejects.toMatchObject({
      code: "no_capacity",
      httpStatus: 503,
      details: { limit: "runtimes.maxSessions", value: 1, retryAfter: 10 },
    });
    expect([places.waiting, clock.pending]).toEqual([0, 0]);
    places.leave(holder);
    await settle();
    expect(places.taken).toBe(0);
  });

  it("is told which limit it waited for", async () => {
    const { clock, places, live, session, bound } = setUp({ limit: 2, maxRuntimes: 1 });
    await live("holder", { tenant: "acme", tenantLimit: 1, unitKey: "unit" });
    bound.add("unit");
    const ofTenant = places.take(session("own", { tenant: "acme", tenantLimit: 1, unitKey: "unit" }));
    const ofRuntimes = places.take(session("other", { tenant: "globex", unitKey: "other" }));
    await settle();
    clock.advance(10_000);
    await expect(ofTenant).rejects.toMatchObject({ details: { limit: "livePerTenant", value: 1 } });
    await expect(ofRuntimes).rejects.toMatchObject({ details: { limit: "runtimes.max", value: 1 } });
  });

  it("waits on while its tenant's line moves, but no longer than a minute", async () => {
    const { clock, places, live, session } = setUp({ limit: 1 });
    let holder: Session = await live("holder");
    const ahead = Array.from({ length: 20 }, (_, index) => session(`${index}`));
    const served = ahead.map((one) => places.take(one));
    const last = places.take(session("last"));
    const refused = Promise.allSettled([...served.slice(9), last]);
    for (const next of ahead.slice(0, 9)) {
      clock.advance(6_000);
      places.leave(holder);
      await settle();
      holder = next;
    }
    await Promise.all(served.slice(0, 9));
    clock.advance(5_999);
    await settle();
    expect(places.waiting).toBe(12);
    clock.advance(1);
    expect(new Set((await refused).map(({ status }) => status))).toEqual(new Set(["rejected"]));
    expect([places.waiting, clock.pending]).toEqual([0, 0]);
  });

  it("is refused at once when too many wait already", async () => {
    const { places, live, session, clock } = setUp({ limit: 1 });
    await live("holder");
    const waiting = Array.from({ length: 1_000 }, (_, index) => places.take(session(`${index}`)));
    await expect(places.take(session("one too many"))).rejects.toMatchObject({
      code: "no_capacity",
      details: { limit: "waitingSessions", value: 1_000, retryAfter: 10 },
    });
    clock.advance(10_000);
    const outcomes = await Promise.allSettled(waiting);
    expect(outcomes.filter(({ status }) => status === "rejected")).toHaveLength(1_000);
  });

  it("does not wait in vain because another tenant's crowd fills the queue", async () => {
    const { places, live, session, clock } = setUp({ limit: 1 });
    await live("holder");
    const crowd = Array.from({ length: 1_000 }, (_, index) => places.take(session(`${index}`)));
    const other = places.take(session("other", { tenant: "globex" }));
    await expect(crowd.at(-1)).rejects.toMatchObject({ code: "no_capacity" });
    expect(places.waiting).toBe(1_000);
    clock.advance(10_000);
    await expect(other).rejects.toMatchObject({ details: { limit: "runtimes.maxSessions", value: 1 } });
    await Promise.allSettled(crowd);
    expect([places.waiting, clock.pending]).toEqual([0, 0]);
  });

  it("leaves its place to the next one when it gives up while room is made for it", async () => {
    const { clock, places, live, idle, session, take, served } = setUp({ limit: 1 });
    const holder = await live("holder");
    const going = Promise.withResolvers<void>();
    holder.evict = async () => {
      await going.promise;
      places.leave(holder);
    };
    const first = places.take(session("first"));
    clock.advance(5_000);
    const second = take("second", session("second"));
    idle(holder, 1);
    await settle();
    clock.advance(5_000);
    await expect(first).rejects.toMatchObject({ code: "no_capacity" });
    going.resolve();
    await second;
    expect([served, places.taken, clock.pending]).toEqual([["second"], 1, 0]);
  });
});
