import { existsSync } from "node:fs";
import { join } from "node:path";
import type { Policy } from "../config/config.ts";
import type { Runtime } from "../fleet/fleet.ts";
import { SquadronError } from "../kernel/errors.ts";
import type { Unit } from "../kernel/isolation.ts";
import type { JsonObject } from "../kernel/json.ts";
import { createSessionLease } from "../sessions/session-lease.ts";
import type { SessionState } from "../sessions/session-state.ts";
import { leaseNameOf } from "../sessions/unit.ts";
import type { SessionRow } from "../store/store.ts";
import type { Envelope } from "../wire/envelope.ts";
import { sessionDeleted } from "./deleted.ts";
import { createHeldRecord, type HeldRecord } from "./held-record.ts";
import type { HostServices } from "./host-services.ts";
import { knownToBeGone } from "./known-to-be-gone.ts";
import { type Life, nextLife, runtimeOf } from "./life.ts";
import { createUpstreamOpening } from "./upstream-opening.ts";
import type { Attachment, Leaving } from "./vocabulary.ts";

/**
 * The node's one attachment to a session in a runtime: its life, the record it is resumed with, and the calls on it.
 * `claim`, `wake`, `create`, `resume`, `refresh` and `leave` must run one after the other; the host sees to that.
 */
export interface SessionUpstream {
  readonly life: Life;
  readonly created: boolean;
  readonly held: HeldRecord;
  /** The runtime's answer to the last create or resume. */
  readonly lastOpened: JsonObject;
  /**
   * Makes sure that the session is this node's to run and that the record is the newest. What wakes it does so by itself;
   * who is about to change the record asks before. Rejects with `held_elsewhere` or `session_deleted`.
   */
  claim(): Promise<void>;
  create(extra: JsonObject): Promise<void>;
  resume(extra: JsonObject): Promise<void>;
  wake(): Promise<Runtime>;
  /** Resumes once more if what is declared has changed since the last time; the history does not show it. */
  refresh(): Promise<void>;
  /** Stores what has changed in this runtime outside a turn; rejects with `runtime_gone` when the session has left it. */
  store(runtime: Runtime): Promise<void>;
  /** Lets the session go from the runtime's memory as its client asks: its history says so, as on a bare runtime. */
  leave(how: Leaving): Promise<void>;
  /** What the runtime has of it beyond the last commit counts no more: nothing of it can be stored from now on. */
  discard(): void;
  /** Throws that away: the next wake begins from the store. */
  drop(): Promise<void>;
  /** The runtime is gone or about to be; it need not be told. */
  lost(): void;
  /** Deletes the session by `remove`; nothing can wake it any more. */
  bury(remove: () => Promise<void>): Promise<void>;
  call(runtime: Runtime, method: string, params: Readonly<Record<string, unknown>>): Promise<Envelope>;
  /** The answer to a `session.options.update` of these if the session has just been opened with them, see `UpstreamOpening`. */
  answerTo(options: JsonObject): Envelope | undefined;
}

/** How a session comes into a runtime. */
interface Entering {
  /** Parameters beside the record's. */
  readonly resuming: JsonObject;
  readonly creating: JsonObject;
  /** A client opens it, and hears of it; otherwise its clients are to notice nothing. */
  readonly opened: boolean;
}

/** A session with an unfinished subagent may never say that it has left (tried); nothing may wait for it for ever. */
const leaveWithinMs = 5_000;
/** So many runtimes may die, one after the other, over a session that is opened in them. */
const maxAttempts = 3;

const isGone = (error: unknown): boolean =>
  error instanceof SquadronError && (error.code === "runtime_gone" || error.code === "connection_closed");

/** Longest time for each call that opens a session in a runtime. */
const openWithinMs = 30_000;

export const createSessionUpstream = (options: {
  readonly services: HostServices;
  readonly row: SessionRow;
  readonly unit: Unit;
  readonly policy: Policy;
  readonly attachments: readonly Attachment[];
  /** Undefined for a one-shot session, of which nothing is kept. */
  readonly state: SessionState | undefined;
  /** Waits for a place among the live sessions. */
  readonly takePlace: () => Promise<void>;
  /** The session is in no runtime any more. */
  readonly onLeft: (runtime: Runtime | undefined) => void;
  /** All that the attachments declare now. */
  readonly declared: () => JsonObject;
  /** Another node has had the session since: what is known of it is old. */
  readonly onMoved: () => Promise<void>;
  /** This node may have lost the session to another one. */
  readonly onLost: () => void;
}): SessionUpstream => {
  const { services, row, unit, policy, attachments, state } = options;
  const { clock, fleet, log, metrics } = services;
  let created = row.createdUpstream;
  let life: Life = { kind: "hibernated" };

  const call = (
    runtime: Runtime,
    method: string,
    params: Readonly<Record<string, unknown>>,
  ): Promise<Envelope> => runtime.peer.request(method, { ...params, sessionId: row.id });

  /** Whoever wants to attach or leave next waits for these. */
  const callSoon: typeof call = (runtime, method, params) =>
    runtime.peer.request(method, { ...params, sessionId: row.id }, { timeoutMs: openWithinMs });

  const held = createHeldRecord({
    services,
    row,
    policy,
    epoch: () => state?.epoch,
    currentModel: async () =>
      life.kind === "live" ? (await call(life.runtime, "session.model.getCurrent", {})).result() : undefined,
  });

  const opening = createUpstreamOpening({
    session: row.id,
    policy,
    held,
    attachments,
    webhooks: services.webhooks,
    declared: options.declared,
    call: callSoon,
    log,
  });

  const lease = createSessionLease({
    holdings: services.holdings,
    name: leaseNameOf(unit, row.id),
    onLost: options.onLost,
  });

  const claim = async (): Promise<void> => {
    if (life.kind === "live") return;
    if (life.kind === "deleted") throw sessionDeleted();
    // As long as it is held nobody else can have had the session.
    if (!(await lease.take())) return;
    try {
      if (state === undefined || !(await state.moved())) return;
      const now = await services.store.sessions.byId(row.id);
      if (now === undefined) throw sessionDeleted();
      held.reload(now.record);
      created = now.createdUpstream;
      await options.onMoved();
    } catch (error) {
      lease.giveUp();
      throw error;
    }
  };

  const sleep = (runtime: Runtime): void => {
    if (life.kind === "hibernated" || life.kind === "deleted") return;
    life = nextLife(life, { kind: "sleep" });
    options.onLeft(runtime);
  };

  /** Outside a turn a runtime writes its log only a moment after its answer (100 ms), unless it is told to. */
  const storeNow = async (runtime: Runtime): Promise<void> => {
    if (state === undefined) return held.save();
    await callSoon(runtime, "sessions.save", {});
    if (life.kind !== "live" || life.runtime !== runtime)
      throw new SquadronError("runtime_gone", "The session left its runtime before what it did was stored.");
    await state.commit();
  };

  /** Whatever comes of it, the session is asleep then. */
  const close = async (method: string, keep: () => Promise<void> | undefined): Promise<void> => {
    if (life.kind !== "live") return;
    const { runtime } = life;
    life = nextLife(life, { kind: "settle" });
    try {
      await runtime.peer.request(method, { sessionId: row.id }, { timeoutMs: leaveWithinMs });
      await keep();
    } catch (error) {
      discard();
      throw error;
    } finally {
      sleep(runtime);
      lease.giveUp();
    }
  };

  /** A create where there is a history would begin it anew, and without one there is nothing to resume. */
  const hasHistory = (runtime: Runtime): boolean =>
    existsSync(join(runtime.sessionDirectory(row.id), "events.jsonl"));

  /** A runtime that dies over it has got no message yet, so that another one can be tried. */
  const enter = async (how: Entering): Promise<Runtime> => {
    await claim();
    for (let attempt = 1; ; attempt++) {
      try {
        const runtime = await tryToEnter(how);
        await stillOurs();
        return runtime;
      } catch (error) {
        if (isGone(error) && attempt < maxAttempts) continue;
        lease.giveUp();
        if (!isGone(error)) throw error;
        throw new SquadronError("runtime_gone", "Every runtime ended in which the session was opened.", {
          cause: error,
        });
      }
    }
  };

  /** What was read before another node took the session over must not stay in a runtime's memory. */
  const stillOurs = async (): Promise<void> => {
    try {
      lease.check();
    } catch (error) {
      await drop();
      throw error;
    }
  };

  const discard = (): void => {
    state?.discard();
    // Who opens it just now has brought a record that is not stored yet.
    if (life.kind !== "waking") held.takeBack();
  };

  const drop = async (): Promise<void> => {
    state?.leave();
    held.takeBack();
    await close("sessions.close", async () => undefined);
  };

  /** Brings the session from the store into a runtime's memory, or leaves it where it was. */
  const tryToEnter = async (how: Entering): Promise<Runtime> => {
    await options.takePlace();
    let runtime: Runtime | undefined;
    try {
      runtime = await fleet.runtimeFor(unit);
      life = nextLife(life, { kind: "wake", runtime });
      await state?.restore(runtime);
      await services.prepare(runtime, policy, attachments);
      if (hasHistory(runtime)) await opening.open(runtime, "session.resume", how.resuming, how.opened);
      else await opening.open(runtime, "session.create", how.creating, how.opened);
      await opening.replay(runtime);
      // Part of what it says of all this comes just after its answers, and nobody is to hear that.
      if (!how.opened) await callSoon(runtime, "session.mode.get", {});
    } catch (error) {
      if (runtime === undefined) options.onLeft(undefined);
      else sleep(runtime);
      if (runtime !== undefined && isGone(error)) await knownToBeGone(runtime, clock);
      throw error;
    }
    if (life.kind !== "waking")
      throw new SquadronError("runtime_gone", "The runtime ended while the session was being woken in it.");
    life = nextLife(life, { kind: "awake" });
    created = true;
    return runtime;
  };

  const wake = async (how: Entering): Promise<Runtime> => {
    if (life.kind === "live") return life.runtime;
    if (life.kind === "deleted") throw sessionDeleted();
    const startedAt = clock.monotonic();
    const runtime = await enter(how);
    metrics.sessionResumed((clock.monotonic() - startedAt) / 1000);
    return runtime;
  };

  return {
    get life() {
      return life;
    },
    get created() {
      return created;
    },
    held,
    claim,
    get lastOpened() {
      return opening.lastOpened;
    },
    async create(extra) {
      await enter({ resuming: extra, creating: extra, opened: true });
    },
    async resume(extra) {
      if (life.kind === "live") await opening.open(life.runtime, "session.resume", extra, true);
      else await wake({ resuming: extra, creating: {}, opened: true });
    },
    wake: () => wake({ resuming: { disableResume: true }, creating: {}, opened: false }),
    async refresh() {
      if (life.kind === "live" && !opening.current) {
        await opening.open(life.runtime, "session.resume", { disableResume: true }, false);
      }
    },
    leave: (how) =>
      close(`session.${how}`, async () => {
        held.leave();
        await (state === undefined ? held.save() : state.commit());
      }),
    store: storeNow,
    discard,
    drop,
    lost() {
      const runtime = runtimeOf(life);
      discard();
      if (runtime !== undefined) sleep(runtime);
      lease.giveUp();
    },
    async bury(remove) {
      const runtime = runtimeOf(life);
      life = nextLife(life, { kind: "settle" });
      try {
        await remove();
      } catch (error) {
        state?.discard();
        if (runtime !== undefined) sleep(runtime);
        lease.giveUp();
        throw error;
      }
      state?.discard();
      life = nextLife(life, { kind: "delete" });
      lease.giveUp();
      options.onLeft(runtime);
    },
    call(runtime, method, params) {
      opening.called();
      return call(runtime, method, params);
    },
    answerTo: (options) => (life.kind === "live" ? opening.answerTo(options) : undefined),
  };
};
