import type { Policy } from "../config/config.ts";
import type { Runtime } from "../fleet/fleet.ts";
import { SquadronError } from "../kernel/errors.ts";
import type { SessionRow } from "../store/store.ts";
import type { HostServices } from "./host-services.ts";
import type { InOrder } from "./in-order.ts";
import { knownToBeGone } from "./known-to-be-gone.ts";
import { runtimeOf } from "./life.ts";
import type { Resident } from "./live-places.ts";
import type { SessionUpstream } from "./session-upstream.ts";

/** A session's stay in a runtime: when it wakes, when it may fall asleep and does, when it is thrown out. */
export interface SessionStay {
  readonly resident: Resident;
  /** Others wait for its place, and it is giving that up; resolves when it has, or could not. */
  readonly leaving: Promise<void> | undefined;
  /** Has nobody any work for the session, and has it none of its own? */
  readonly evictable: boolean;
  /** When anybody last had to do with it; monotonic. */
  readonly lastUsedAt: number;
  /** Is what its runtime throws away of it being thrown away now? Nothing more is sent there. */
  readonly dropping: boolean;
  used(): void;
  /** Is an event of this type news to the session's clients? */
  hears(type: string | undefined): boolean;
  /** A runtime that has just died is known to be dead before anybody has told us. */
  forgetDead(): void;
  /** Must run in order with all that changes where the session is. */
  wake(): Promise<Runtime>;
  /**
   * Sends the session to sleep if it has no work; its clients stay attached and notice nothing. Rejects with
   * `store_unavailable`, and it stays then.
   */
  hibernate(how: "detach" | "abandon"): Promise<boolean>;
  /** What the runtime has in memory is not what is stored: the session goes on from its last commit. */
  dropSoon(): void;
  /** Others may be waiting for its place or for the end of its runtime. */
  idleAgain(): void;
  /** A turn has ended. `leave`: nobody is there any more who would send another. */
  settled(leave: boolean): void;
  /** Sends it to sleep when it has been unused for a while. */
  sleepLater(): void;
  stopTimer(): void;
}

export const createSessionStay = (options: {
  readonly services: HostServices;
  readonly row: SessionRow;
  readonly policy: Policy;
  readonly upstream: SessionUpstream;
  readonly inOrder: InOrder;
  /** Does anything keep it in memory? */
  readonly hasWork: () => boolean;
  readonly hasTurn: () => boolean;
  readonly onWoken: () => void;
  readonly onDied: (runtime: Runtime) => void;
}): SessionStay => {
  const { services, row, policy, upstream, inOrder, hasWork } = options;
  const { clock, log } = services;
  /** It falls asleep or wakes, and what the runtime says of that is nothing to the clients that stay attached. */
  let quiet = false;
  let leaving: Promise<void> | undefined;
  let dropping = false;
  let lastUsedAt = clock.monotonic();
  let stopTimer = (): void => {};

  const evictable = (): boolean => upstream.life.kind === "live" && !row.ephemeral && !hasWork();

  const couldNotLeave = (error: unknown): void =>
    log.warn({ session: row.id, error }, "the session could not leave its runtime");

  /** The entry that a runtime makes of it in its log is not the session's: the next wake has what is stored. */
  const dropQuietly = async (): Promise<void> => {
    quiet = true;
    try {
      await upstream.drop();
    } catch (error) {
      couldNotLeave(error);
    } finally {
      quiet = false;
    }
  };

  const hibernate: SessionStay["hibernate"] = (how) =>
    inOrder.run(async () => {
      const runtime = runtimeOf(upstream.life);
      if (runtime === undefined || !evictable()) return upstream.life.kind === "hibernated";
      stopTimer();
      await upstream.store(runtime).catch((error: unknown) => {
        if (error instanceof SquadronError && error.code === "store_unavailable") throw error;
        // It must not keep its place for ever: what cannot be stored has not happened.
        log.error({ session: row.id, error }, "what an idle session has changed could not be stored");
      });
      if (!evictable()) return upstream.life.kind === "hibernated";
      if (how === "abandon") upstream.lost();
      else await dropQuietly();
      return true;
    });

  const sleepSoon = (): void => {
    hibernate("detach").then(
      // It has work of its own; when that ends nobody need say so.
      (asleep) => asleep || sleepLater(),
      (error) => {
        couldNotLeave(error);
        sleepLater();
      },
    );
  };

  const sleepLater = (): void => {
    stopTimer();
    if (upstream.life.kind === "live" && !options.hasTurn() && !row.ephemeral)
      stopTimer = clock.after(policy.sessions.hibernateAfterMs, sleepSoon);
  };

  const forgetDead = (): void => {
    const { life } = upstream;
    if (life.kind === "live" && life.runtime.gone) options.onDied(life.runtime);
  };

  const idleAgain = (): void => {
    const runtime = runtimeOf(upstream.life);
    if (runtime === undefined || !evictable()) return;
    services.residence.settled(runtime);
    services.places.changed();
  };

  return {
    resident: {
      tenant: row.tenant,
      tenantLimit: policy.limits.livePerTenant,
      unitKey: row.unit,
      get lastUsedAt() {
        return lastUsedAt;
      },
      get evictable() {
        return evictable();
      },
      evict() {
        leaving = hibernate("detach")
          .then(
            () => undefined,
            (error) => log.warn({ session: row.id, error }, "the session could not be sent to sleep"),
          )
          .finally(() => (leaving = undefined));
        return leaving;
      },
    },
    get leaving() {
      return leaving;
    },
    get evictable() {
      return evictable();
    },
    get lastUsedAt() {
      return lastUsedAt;
    },
    get dropping() {
      return dropping;
    },
    used() {
      lastUsedAt = clock.monotonic();
    },
    hears(type) {
      const { kind } = upstream.life;
      // What comes of an earlier stay in this runtime is history by now.
      if (quiet || dropping || kind === "hibernated") return false;
      // A runtime may say so when the session has been woken in it again.
      return type !== "session.shutdown" || kind === "settling";
    },
    forgetDead,
    async wake() {
      if (upstream.life.kind === "live" && !upstream.life.runtime.peer.open)
        await knownToBeGone(upstream.life.runtime, clock);
      forgetDead();
      // Another call has woken it meanwhile, and what the session says now is for its clients.
      if (upstream.life.kind === "live") return upstream.life.runtime;
      quiet = true;
      try {
        const runtime = await upstream.wake();
        await new Promise<void>((resolve) => setImmediate(resolve));
        options.onWoken();
        return runtime;
      } finally {
        quiet = false;
      }
    },
    hibernate,
    dropSoon() {
      if (dropping) return;
      dropping = true;
      // It may have to wait until it can leave.
      upstream.discard();
      inOrder.run(() => upstream.drop().finally(() => (dropping = false))).catch(couldNotLeave);
    },
    idleAgain,
    settled(leave) {
      lastUsedAt = clock.monotonic();
      if (leave) sleepSoon();
      else sleepLater();
      // Events of the same moment are still on their way out.
      setImmediate(idleAgain);
    },
    sleepLater,
    stopTimer: () => stopTimer(),
  };
};
