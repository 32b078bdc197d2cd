import { describe, expect, it, vi } from "vitest";
import type { Fleet, Runtime } from "../../../src/fleet/fleet.ts";
import { createResidence, type Lodger, type Residence } from "../../../src/gateway/residence.ts";
import type { Isolation } from "../../../src/kernel/isolation.ts";
import { createLog } from "../../../src/telemetry/log.ts";
import { ManualClock } from "../../support/manual-clock.ts";
import { settle } from "./fake-node.ts";

interface Session {
  runtime: Runtime | undefined;
  evictable: boolean;
  lastUsedAt: number;
  abandon(): Promise<boolean>;
}

const setUp = () => {
  const clock = new ManualClock();
  const killed: string[] = [];
  const slept: string[] = [];
  const runtimes = new Set<Runtime>();
  const sessions: Session[] = [];
  const retire = vi.fn((_runtime: Runtime) => true);
  const lodgersOf = (runtime: Runtime): readonly Lodger[] =>
    sessions.filter((session) => session.runtime === runtime);
  const residence: Residence = createResidence({
    clock,
    fleet: { retire, runtimes: () => [...runtimes] } as Partial<Fleet> as Fleet,
    log: createLog({ level: "silent" }),
    lodgersOf,
  });
  const runtimeOf = (id: string, isolation: Isolation): Runtime => {
    const runtime = {
      id,
      unit: { isolation, key: `${isolation}/unit` },
      kill: async () => {
        if (!runtimes.delete(runtime)) return;
        killed.push(id);
        residence.closed(runtime);
      },
    } as Partial<Runtime> as Runtime;
    runtimes.add(runtime);
    return runtime;
  };
  const leave = (session: Session, idleMs = 100): void => {
    const { runtime } = session;
    session.runtime = undefined;
    if (runtime !== undefined) residence.left(runtime, idleMs);
  };
  const sessionIn = (runtime: Runtime, name: string, traits: Partial<Session> = {}): Session => {
    const session: Session = {
      runtime,
      evictable: false,
      lastUsedAt: clock.monotonic(),
      abandon: async () => {
        if (!session.evictable) return false;
        slept.push(name);
        leave(session);
        return true;
      },
      ...traits,
    };
    sessions.push(session);
    return session;
  };
  const becomesIdle = async (session: Session): Promise<void> => {
    session.evictable = true;
    if (session.runtime !== undefined) residence.settled(session.runtime);
    await settle();
  };
  return { clock, killed, slept, retire, residence, runtimeOf, sessionIn, leave, becomesIdle };
};

describe("a runtime without sessions", () => {
  it("is ended when it has been empty for a while", async () => {
    const { clock, killed, runtimeOf, sessionIn, leave } = setUp();
    const runtime = runtimeOf("one", "user");
    leave(sessionIn(runtime, "s"));
    clock.advance(99);
    await settle();
    expect(killed).toEqual([]);
    clock.advance(1);
    await settle();
    expect([killed, clock.pending]).toEqual([["one"], 0]);
  });

  it("is ended at once when it is for one session", async () => {
    const { clock, killed, runtimeOf, sessionIn, leave } = setUp();
    leave(sessionIn(runtimeOf("one", "session"), "s"));
    clock.advance(0);
    await settle();
    expect(killed).toEqual(["one"]);
  });

  it("stays when another session has come meanwhile, busy or idle, and its time begins anew when that leaves", async () => {
    const { clock, killed, slept, runtimeOf, sessionIn, leave } = setUp();
    const runtime = runtimeOf("one", "user");
    leave(sessionIn(runtime, "first"));
    clock.advance(50);
    const second = sessionIn(runtime, "second", { evictable: true });
    clock.advance(100);
    await settle();
    expect([killed, slept]).toEqual([[], []]);
    leave(second);
    clock.advance(99);
    await settle();
    expect(killed).toEqual([]);
    clock.advance(1);
    await settle();
    expect(killed).toEqual(["one"]);
  });

  it("leaves no timer behind when it ends by itself", () => {
    const { clock, residence, runtimeOf, sessionIn, leave } = setUp();
    const runtime = runtimeOf("one", "user");
    leave(sessionIn(runtime, "s"));
    residence.closed(runtime);
    expect(clock.pending).toBe(0);
  });
});

describe("a worn runtime of several users", () => {
  it("takes no new session, lets turns begin meanwhile, and ends when the last of its own is idle", async () => {
    const { killed, slept, retire, residence, runtimeOf, sessionIn, becomesIdle } = setUp();
    const runtime = runtimeOf("worn", "shared");
    sessionIn(runtime, "idle", { evictable: true });
    const busy = sessionIn(runtime, "busy");
    residence.recycle(runtime);
    await settle();
    expect(retire).toHaveBeenCalledExactlyOnceWith(runtime);
    expect([slept, killed]).toEqual([["idle"], []]);
    expect(residence.mayBegin(runtime.unit.key)).toBeUndefined();
    residence.recycle(runtime);
    await becomesIdle(busy);
    expect([slept, killed, retire.mock.calls.length]).toEqual([["idle", "busy"], ["worn"], 1]);
  });

  it("ends at once when it is empty", async () => {
    const { killed, residence, runtimeOf } = setUp();
    residence.recycle(runtimeOf("worn", "tenant"));
    await settle();
    expect(killed).toEqual(["worn"]);
  });

  it("stays as it is when the fleet cannot retire it now", async () => {
    const { killed, slept, retire, residence, runtimeOf, sessionIn } = setUp();
    retire.mockReturnValueOnce(false);
    const runtime = runtimeOf("worn", "shared");
    sessionIn(runtime, "idle", { evictable: true });
    residence.recycle(runtime);
    await settle();
    expect([slept, killed]).toEqual([[], []]);
    residence.recycle(runtime);
    await settle();
    expect([slept, killed]).toEqual([["idle"], ["worn"]]);
  });

  it("is left by all others when one session cannot be stored", async () => {
    const { killed, slept, residence, runtimeOf, sessionIn } = setUp();
    const runtime = runtimeOf("worn", "shared");
    const stuck = sessionIn(runtime, "stuck", {
      evictable: true,
      abandon: () => Promise.reject(new Error("It cannot be stored.")),
    });
    sessionIn(runtime, "other", { evictable: true });
    residence.recycle(runtime);
    await settle();
    expect([slept, killed, stuck.runtime]).toEqual([["other"], [], runtime]);
  });
});

describe("a worn runtime of one user", () => {
  it("lets no turn begin until the running ones have ended and it is gone", async () => {
    const { killed, slept, retire, residence, runtimeOf, sessionIn, becomesIdle } = setUp();
    const runtime = runtimeOf("worn", "user");
    sessionIn(runtime, "idle", { evictable: true });
    const busy = sessionIn(runtime, "busy");
    residence.recycle(runtime);
    const begun = vi.fn();
    residence.mayBegin(runtime.unit.key)?.then(begun);
    expect(residence.mayBegin("user/another")).toBeUndefined();
    await settle();
    expect([killed, slept, begun.mock.calls.length]).toEqual([[], [], 0]);
    await becomesIdle(busy);
    expect([killed, slept, begun.mock.calls.length]).toEqual([["worn"], ["idle", "busy"], 1]);
    expect(residence.mayBegin(runtime.unit.key)).toBeUndefined();
    expect(retire).not.toHaveBeenCalled();
  });

  it("keeps turns waiting for a while only, and tries again later", async () => {
    const { clock, killed, residence, runtimeOf, sessionIn, becomesIdle } = setUp();
    const runtime = runtimeOf("worn", "user");
    const busy = sessionIn(runtime, "busy");
    residence.recycle(runtime);
    const begun = vi.fn();
    residence.mayBegin(runtime.unit.key)?.then(begun);
    clock.advance(5_000);
    await settle();
    expect(begun).toHaveBeenCalledOnce();
    await becomesIdle(busy);
    expect(killed).toEqual([]);
    clock.advance(54_999);
    residence.recycle(runtime);
    expect(residence.mayBegin(runtime.unit.key)).toBeUndefined();
    clock.advance(1);
    residence.recycle(runtime);
    await settle();
    expect([killed, clock.pending]).toEqual([["worn"], 0]);
  });

  it("opens the gate when it dies by itself", async () => {
    const { residence, runtimeOf, sessionIn, clock } = setUp();
    const runtime = runtimeOf("worn", "session");
    sessionIn(runtime, "busy");
    residence.recycle(runtime);
    const gate = residence.mayBegin(runtime.unit.key);
    residence.closed(runtime);
    await gate;
    expect(clock.pending).toBe(0);
  });
});

describe("when another unit needs a runtime", () => {
  it("the least recently used one whose sessions are all idle is ended", async () => {
    const { killed, residence, runtimeOf, sessionIn } = setUp();
    const [busy, newer, older] = [
      runtimeOf("busy", "user"),
      runtimeOf("newer", "user"),
      runtimeOf("older", "user"),
    ];
    sessionIn(busy, "idle in busy", { evictable: true, lastUsedAt: 0 });
    sessionIn(busy, "busy");
    sessionIn(newer, "newer", { evictable: true, lastUsedAt: 20 });
    sessionIn(older, "older", { evictable: true, lastUsedAt: 10 });
    sessionIn(older, "oldest", { evictable: true, lastUsedAt: 5 });
    expect(await residence.freeOne()).toBe(true);
    expect(await residence.freeOne()).toBe(true);
    expect(await residence.freeOne()).toBe(false);
    expect(killed).toEqual(["older", "newer"]);
  });

  it("another one is ended when a session of the first cannot be stored or has work again", async () => {
    const { killed, residence, runtimeOf, sessionIn } = setUp();
    sessionIn(runtimeOf("stuck", "user"), "stuck", {
      evictable: true,
      lastUsedAt: 1,
      abandon: () => Promise.reject(new Error("It cannot be stored.")),
    });
    sessionIn(runtimeOf("working", "user"), "working", {
      evictable: true,
      lastUsedAt: 2,
      abandon: async () => false,
    });
    sessionIn(runtimeOf("idle", "user"), "idle", { evictable: true, lastUsedAt: 3 });
    expect(await residence.freeOne()).toBe(true);
    expect(killed).toEqual(["idle"]);
  });
});
