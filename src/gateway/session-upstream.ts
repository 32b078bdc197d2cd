import { existsSync } from "node:fs";
import { join } from "node:path";
import type { Policy } from "../config/config.ts";
import type { Runtime } from "../fleet/fleet.ts";
import { SquadronError } from "../kernel/errors.ts";
import type { Unit } from "../kernel/isolation.ts";
import { isObject, type JsonObject } from "../kernel/json.ts";
import type { Secret } from "../kernel/secret.ts";
import type { ModelGrant } from "../models/grant.ts";
import { judgeCall } from "../policy/judge.ts";
import { optionsPatch } from "../policy/session-parameters.ts";
import {
  callsOnWake,
  parseRecord,
  recordAfterCall,
  recordAfterEvent,
  recordAfterLeaving,
  recordAfterModel,
  recordAfterOptions,
  recordAfterProviders,
  recordAfterResume,
  recordIn,
  recordWithoutDirectory,
  type SessionRecord,
} from "../sessions/record.ts";
import { createPathApprovals } from "../sessions/record-approvals.ts";
import type { SessionState } from "../sessions/session-state.ts";
import type { SessionRow } from "../store/store.ts";
import type { Envelope } from "../wire/envelope.ts";
import { RpcError } from "../wire/rpc-error.ts";
import { sessionDeleted } from "./deleted.ts";
import type { HostServices } from "./host-services.ts";
import { interestHandle } from "./interests.ts";
import { type Life, nextLife, runtimeOf } from "./life.ts";
import { type Credentials, grantOf, takeCredentials, upstreamParameters } from "./upstream-parameters.ts";
import type { Attachment, Leaving, Opening } from "./vocabulary.ts";

/** What must be put back when opening a session fails. */
export interface UpstreamMemory {
  readonly record: SessionRecord;
  readonly credentials: Credentials;
}

/**
 * The node's one attachment to a session in a runtime: its life, the record it is resumed with, and the calls on it.
 * `wake`, `create`, `resume`, `refresh` and `leave` must run one after the other; the host sees to that.
 */
export interface SessionUpstream {
  readonly life: Life;
  readonly created: boolean;
  readonly record: SessionRecord;
  readonly grant: ModelGrant;
  /** The runtime's answer to the last create or resume. */
  readonly lastOpened: JsonObject;
  readonly memory: UpstreamMemory;
  restore(memory: UpstreamMemory): void;
  /** Takes over the parameters of a create or resume, secrets apart. */
  remember(recorded: JsonObject, opening: Pick<Opening, "githubToken" | "ownInference">): void;
  /** Keeps a token for a session that has none. */
  lend(githubToken: Secret | undefined): void;
  create(extra: JsonObject): Promise<void>;
  resume(extra: JsonObject): Promise<void>;
  wake(): Promise<Runtime>;
  /** Resumes once more if what is declared has changed since the last time; the history does not show it. */
  refresh(): Promise<void>;
  /** Stores what has changed in this runtime outside a turn; rejects with `runtime_gone` when the session has left it. */
  store(runtime: Runtime): Promise<void>;
  /** Lets the session go from the runtime's memory as its client asks: its history says so, as on a bare runtime. */
  leave(how: Leaving): Promise<void>;
  /** Throws away what the runtime has of it beyond the last commit: the next wake begins from the store. */
  drop(): Promise<void>;
  /** The runtime is gone or about to be; it need not be told. */
  lost(): void;
  /** Deletes the session by `remove`; nothing can wake it any more. */
  bury(remove: () => Promise<void>): Promise<void>;
  call(runtime: Runtime, method: string, params: Readonly<Record<string, unknown>>): Promise<Envelope>;
  /** Takes the keys out of further providers and keeps them; returns what the runtime may see. */
  shield(params: JsonObject): JsonObject;
  foldOptions(options: JsonObject): Promise<void>;
  /** Keeps further providers and their models for the next wake. */
  foldProviders(shown: JsonObject): Promise<void>;
  foldEvent(type: string, data: unknown, agentId: unknown): void;
  /** Keeps for the next wake what a call has changed in the runtime's memory. */
  foldCall(method: string, params: JsonObject, result: unknown): Promise<void>;
  save(): Promise<void>;
  /** Resolves when every change of the record is stored; rejects when that cannot be. */
  saved(): Promise<void>;
}

/** A session with an unfinished subagent may never say that it has left (tried); nothing may wait for it for ever. */
const leaveWithinMs = 5_000;
/** After these the model of the rest counts again. */
const cutsHistory: ReadonlySet<string> = new Set(["session.history.truncate", "session.history.rewind"]);

const isMissingDirectory = (error: unknown): boolean =>
  error instanceof RpcError && error.message.includes("Directory does not exist");

/** So many runtimes may die, one after the other, over a session that is opened in them. */
const maxAttempts = 3;

/** Longest wait for the end of a process whose pipe has broken. */
const endWithinMs = 1_500;

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
}): SessionUpstream => {
  const { services, row, unit, policy, attachments, declared, state } = options;
  const { clock, store, fleet, log, metrics } = services;
  let record = parseRecord(row.record);
  let created = row.createdUpstream;
  let credentials: Credentials = { ownInference: false, githubToken: undefined, routes: [], servers: {} };
  let life: Life = { kind: "hibernated" };
  let saving: Promise<void> = Promise.resolve();
  /** The record that the store has or is being given. */
  let stored: SessionRecord | undefined;
  let lastOpened: JsonObject = {};
  let openedWith = "";
  const pathApprovals = createPathApprovals();

  const call = (
    runtime: Runtime,
    method: string,
    params: Readonly<Record<string, unknown>>,
  ): Promise<Envelope> => runtime.peer.request(method, { ...params, sessionId: row.id });

  /** Of a one-shot session nothing that was said is written down: a deleted row stays readable in a database's files. */
  const save = (): Promise<void> => {
    if (record === stored) return saving;
    const now = record;
    stored = now;
    saving = store.sessions
      .update(row.id, {
        // Before anything is said a runtime writes no history: a session that has left its memory is unknown to it.
        createdUpstream: now.unwritten === undefined,
        ...(!row.ephemeral && { record: JSON.stringify(now) }),
      })
      .catch((error) => {
        stored = undefined;
        throw error;
      });
    return saving;
  };

  /** What could not be written once is tried again: the record has it all. */
  const saved = (): Promise<void> => saving.catch(() => save());

  /** Whoever wants to attach or leave next waits for these. */
  const callSoon: typeof call = (runtime, method, params) =>
    runtime.peer.request(method, { ...params, sessionId: row.id }, { timeoutMs: openWithinMs });

  const openIn = async (
    runtime: Runtime,
    method: "session.create" | "session.resume",
    extra: JsonObject,
  ): Promise<void> => {
    const united = declared();
    const open = () =>
      callSoon(runtime, method, {
        // Each process has its own, and a session is not to look for an earlier one's.
        workingDirectory: runtime.inside.work,
        ...upstreamParameters(policy, record.parameters, united, credentials),
        ...extra,
      });
    record = recordIn(record, runtime.inside);
    const answer = await open().catch((error) => {
      // Better without it than never again.
      if (!isMissingDirectory(error) || method === "session.create") throw error;
      record = recordWithoutDirectory(record);
      return open();
    });
    const result = answer.result();
    lastOpened = isObject(result) ? (result as JsonObject) : {};
    openedWith = JSON.stringify(united);
    await callSoon(runtime, "session.options.update", {
      ...record.options,
      ...optionsPatch(policy, record.options),
    });
    for (const interest of attachments.flatMap((attachment) => [...attachment.interests.values()])) {
      const { eventType } = interest;
      interest.handle = interestHandle(
        await callSoon(runtime, "session.eventLog.registerInterest", { eventType }),
      );
    }
  };

  /** What was changed since the session was made and is in no file, in the order in which it was changed. */
  const replay = async (runtime: Runtime): Promise<void> => {
    for (const { method, params, approved } of callsOnWake(record)) {
      if (approved !== true && !isAllowed(method, { ...params, sessionId: row.id })) continue;
      await callSoon(runtime, method, params).catch((error) => {
        if (!(error instanceof RpcError)) throw error;
        log.warn({ session: row.id, method, error }, "a setting of the session could not be made again");
      });
    }
  };

  /** The policy may have been narrowed since. */
  const isAllowed = (method: string, params: JsonObject): boolean => {
    try {
      judgeCall(policy, method, params);
      return true;
    } catch (error) {
      if (error instanceof SquadronError) return false;
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
    if (state === undefined) return;
    await saved();
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
      state?.discard();
      throw error;
    } finally {
      sleep(runtime);
    }
  };

  /** A create where there is a history would begin it anew, and without one there is nothing to resume. */
  const hasHistory = (runtime: Runtime): boolean =>
    existsSync(join(runtime.sessionDirectory(row.id), "events.jsonl"));

  /** A pipe breaks a moment before the process has ended; until then the unit would get the same one again. */
  const knownToBeGone = async (runtime: Runtime): Promise<void> => {
    const { promise: late, resolve } = Promise.withResolvers<void>();
    const cancel = clock.after(endWithinMs, resolve);
    await Promise.race([runtime.closed, late]).finally(cancel);
  };

  /** A runtime that dies over it has got no message yet, so that another one can be tried. */
  const enter = async (resuming: JsonObject, creating: JsonObject): Promise<Runtime> => {
    for (let attempt = 1; ; attempt++) {
      try {
        return await tryToEnter(resuming, creating);
      } catch (error) {
        if (!isGone(error)) throw error;
        if (attempt === maxAttempts)
          throw new SquadronError("runtime_gone", "Every runtime ended in which the session was opened.", {
            cause: error,
          });
      }
    }
  };

  /** Brings the session from the store into a runtime's memory, or leaves it where it was. */
  const tryToEnter = async (resuming: JsonObject, creating: JsonObject): Promise<Runtime> => {
    await options.takePlace();
    let runtime: Runtime | undefined;
    try {
      runtime = await fleet.runtimeFor(unit);
      life = nextLife(life, { kind: "wake", runtime });
      await state?.restore(runtime);
      await services.prepare(runtime, policy, attachments);
      if (hasHistory(runtime)) await openIn(runtime, "session.resume", resuming);
      else await openIn(runtime, "session.create", creating);
      await replay(runtime);
      // Part of what it says of all this comes just after its answers.
      await callSoon(runtime, "session.mode.get", {});
    } catch (error) {
      if (runtime === undefined) options.onLeft(undefined);
      else sleep(runtime);
      if (runtime !== undefined && isGone(error)) await knownToBeGone(runtime);
      throw error;
    }
    if (life.kind !== "waking")
      throw new SquadronError("runtime_gone", "The runtime ended while the session was being woken in it.");
    life = nextLife(life, { kind: "awake" });
    created = true;
    return runtime;
  };

  const wake = async (extra: JsonObject): Promise<Runtime> => {
    if (life.kind === "live") return life.runtime;
    if (life.kind === "deleted") throw sessionDeleted();
    const startedAt = clock.monotonic();
    const runtime = await enter(extra, {});
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
    get record() {
      return record;
    },
    get grant() {
      return grantOf(policy, credentials, services.githubRoutes);
    },
    get lastOpened() {
      return lastOpened;
    },
    get memory() {
      return { record, credentials };
    },
    restore(memory) {
      ({ record, credentials } = memory);
    },
    remember(recorded, { githubToken, ownInference }) {
      const taken = takeCredentials(recorded);
      record = recordAfterResume(record, taken.parameters);
      credentials = {
        ownInference,
        githubToken: githubToken ?? credentials.githubToken,
        routes: taken.routes.length > 0 ? taken.routes : credentials.routes,
        servers: taken.servers,
      };
    },
    lend(githubToken) {
      credentials = { ...credentials, githubToken: credentials.githubToken ?? githubToken };
    },
    async create(extra) {
      await enter(extra, extra);
    },
    async resume(extra) {
      if (life.kind === "live") await openIn(life.runtime, "session.resume", extra);
      else await wake(extra);
    },
    wake: () => wake({ disableResume: true }),
    async refresh() {
      if (life.kind === "live" && JSON.stringify(declared()) !== openedWith) {
        await openIn(life.runtime, "session.resume", { disableResume: true });
      }
    },
    leave: (how) =>
      close(`session.${how}`, async () => {
        await state?.commit();
        record = recordAfterLeaving(record);
        await save();
      }),
    store: storeNow,
    async drop() {
      state?.discard();
      await close("sessions.close", async () => undefined);
    },
    lost() {
      const runtime = runtimeOf(life);
      state?.discard();
      if (runtime !== undefined) sleep(runtime);
    },
    async bury(remove) {
      const runtime = runtimeOf(life);
      life = nextLife(life, { kind: "settle" });
      try {
        await remove();
      } catch (error) {
        state?.discard();
        if (runtime !== undefined) sleep(runtime);
        throw error;
      }
      state?.discard();
      life = nextLife(life, { kind: "delete" });
      options.onLeft(runtime);
    },
    call,
    shield(params) {
      const taken = takeCredentials(params);
      const kept = credentials.routes.filter(
        (old) =>
          !taken.routes.some(
            ({ prefix, placeholder }) => prefix === old.prefix && placeholder === old.placeholder,
          ),
      );
      credentials = { ...credentials, routes: [...taken.routes, ...kept] };
      return taken.parameters;
    },
    async foldOptions(changed) {
      record = recordAfterOptions(record, changed);
      await save();
    },
    async foldProviders(shown) {
      record = recordAfterProviders(record, shown);
      await save();
    },
    async foldCall(method, params, result) {
      let next = recordAfterCall(record, method, params, result);
      if (cutsHistory.has(method) && life.kind === "live")
        next = recordAfterModel(next, (await call(life.runtime, "session.model.getCurrent", {})).result());
      if (next === record) return;
      record = next;
      await save();
    },
    foldEvent(type, data, agentId) {
      const next = pathApprovals(recordAfterEvent(record, type, data, agentId), type, data);
      if (next === record) return;
      record = next;
      save().catch((error) =>
        log.error({ session: row.id, error }, "a change of the session was not stored"),
      );
    },
    save,
    saved,
  };
};
