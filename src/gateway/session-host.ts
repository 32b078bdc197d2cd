import type { Policy } from "../config/config.ts";
import type { Runtime } from "../fleet/fleet.ts";
import { SquadronError, toSquadronError } from "../kernel/errors.ts";
import type { Unit } from "../kernel/isolation.ts";
import { isObject, type JsonObject } from "../kernel/json.ts";
import { createSessionState } from "../sessions/session-state.ts";
import type { SessionRow } from "../store/store.ts";
import type { Envelope } from "../wire/envelope.ts";
import { createBackgroundWork } from "./background-work.ts";
import { type Declarations, splitParameters, unite, watcherDeclares } from "./declarations.ts";
import { sessionDeleted } from "./deleted.ts";
import { createHeldEnds } from "./held-ends.ts";
import { askAttachment } from "./host-callbacks.ts";
import { createEventIntake } from "./host-events.ts";
import type { HostServices } from "./host-services.ts";
import { createHostTurns } from "./host-turns.ts";
import { runtimeOf } from "./life.ts";
import type { Resident } from "./live-places.ts";
import { createOpenRequests } from "./open-requests.ts";
import { createSchedules, scheduleEvents } from "./schedules.ts";
import { createSessionUpstream, interestHandle } from "./session-upstream.ts";
import { createTurnRows } from "./turn-rows.ts";
import { runtimeGone } from "./turn-runner.ts";
import { createUnqueuedTurn } from "./unqueued-turn.ts";
import type { Attachment, Connection, Opening, SessionHost } from "./vocabulary.ts";

const notStoredMessage =
  "What this turn did could not be stored and counts as not done; send the message again if you want it answered.";

/** Of one attachment; each is registered again at every wake. */
const maxInterests = 100;

const pick = (from: Readonly<Record<string, unknown>>, names: readonly string[]): JsonObject =>
  Object.fromEntries(
    Object.entries(from).filter(([name, value]) => names.includes(name) && value !== undefined),
  ) as JsonObject;

export const createSessionHost = (options: {
  readonly services: HostServices;
  readonly row: SessionRow;
  readonly name: string;
  readonly policy: Policy;
  readonly renamed: ReadonlyMap<string, string>;
  /** Called when nothing may hold the host any more. */
  readonly onUnused: () => void;
}): SessionHost => {
  const { services, row, policy } = options;
  const { clock, store, log, metrics } = services;
  const unit: Unit = { isolation: row.isolation, key: row.unit };
  const renamed = new Map(options.renamed);
  const attachments: Attachment[] = [];
  let recordWriter: Attachment | undefined;
  let serial: Promise<unknown> = Promise.resolve();
  let queued = 0;
  /** Calls and callbacks that are being answered. */
  let open = 0;
  /** The current turn waits until its unit's runtime has been emptied; nothing of it has begun. */
  let atGate = false;
  /** It falls asleep or wakes, and what the runtime says of that is nothing to the clients that stay attached. */
  let quiet = false;
  /** What the runtime has in memory is not what is stored: nothing more is sent there. */
  let dropping = false;
  let lastUsedAt = clock.monotonic();
  let cancelIdleTimer = (): void => {};
  /** The last client that left spoke the SDK's protocol: the session leaves memory when idle, as on a bare runtime. */
  let leaveWhenIdle = false;

  const state = row.ephemeral
    ? undefined
    : createSessionState({
        store,
        clock,
        units: services.units,
        session: row.id,
        maxBytes: policy.limits.maxSizeBytes,
        nextTurn: () => (turns.current?.state.kind === "submitting" ? turns.current.id : undefined),
      });
  const rows = createTurnRows({ store, clock, log, row });

  const resident: Resident = {
    tenant: row.tenant,
    tenantLimit: policy.limits.livePerTenant,
    unitKey: unit.key,
    get lastUsedAt() {
      return lastUsedAt;
    },
    get evictable() {
      return evictable();
    },
    evict: () =>
      hibernate("detach").then(
        () => undefined,
        (error) => log.warn({ session: row.id, error }, "the session could not be sent to sleep"),
      ),
  };

  const upstream = createSessionUpstream({
    services,
    row,
    unit,
    policy,
    attachments,
    state,
    takePlace: () => services.places.take(resident),
    onLeft: (runtime) => {
      openRequests.clear();
      background.clear();
      schedules.clear();
      unqueued.clear();
      services.shells.left(row.id);
      services.places.leave(resident);
      if (runtime !== undefined) services.residence.left(runtime, policy.sessions.hibernateAfterMs);
    },
    declared: () => unite(attachments.map(({ declarations }) => declarations)),
  });

  /** Operations that change who is attached or where the session is run one after the other. */
  const inOrder = <T>(operation: () => Promise<T>): Promise<T> => {
    queued++;
    const result = serial.then(operation).finally(() => {
      queued--;
      letGo();
    });
    serial = result.catch(() => undefined);
    return result;
  };

  /** Events find the host only while it is known: it is forgotten when nobody waits for it, nor is just about to use it. */
  const letGo = (): void => {
    if (attachments.length > 0) return;
    setImmediate(() => {
      if (queued === 0) options.onUnused();
    });
  };

  /** Has nobody any work for the session, and has it none of its own? */
  const evictable = (): boolean =>
    upstream.life.kind === "live" &&
    !row.ephemeral &&
    (turns.current === undefined || atGate) &&
    (turns.waiting === 0 || atGate) &&
    open === 0 &&
    openRequests.size === 0 &&
    !background.running &&
    !schedules.planned &&
    !unqueued.running &&
    !services.shells.running(row.id) &&
    !intake.holding;

  /**
   * Sends the session to sleep if it has no work; its clients stay attached and notice nothing. Rejects with
   * `store_unavailable`, and it stays then.
   */
  const hibernate = (how: "detach" | "abandon"): Promise<boolean> =>
    inOrder(async () => {
      const runtime = runtimeOf(upstream.life);
      if (runtime === undefined || !evictable()) return upstream.life.kind === "hibernated";
      cancelIdleTimer();
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

  /** The entry that a runtime makes of it in its log is not the session's: the next wake has what is stored. */
  const dropQuietly = async (): Promise<void> => {
    quiet = true;
    try {
      await upstream.drop();
    } catch (error) {
      log.warn({ session: row.id, error }, "a runtime did not say that it let a session go");
    } finally {
      quiet = false;
    }
  };

  const counted = async <T>(work: () => Promise<T>): Promise<T> => {
    open++;
    lastUsedAt = clock.monotonic();
    try {
      return await work();
    } finally {
      open--;
      idleAgain();
    }
  };

  const call = async (
    method: string,
    params: Readonly<Record<string, unknown>>,
    before?: () => void,
  ): Promise<Envelope> => (await callIn(method, params, before)).frame;

  /** `before` is called when all waiting is over; if it throws, the runtime is not called. */
  const callIn = (
    method: string,
    params: Readonly<Record<string, unknown>>,
    before?: () => void,
  ): Promise<{ readonly frame: Envelope; readonly runtime: Runtime }> =>
    counted(async () => {
      const { life } = upstream;
      // One that has just died is known to be dead before anybody has told us.
      const runtime =
        life.kind === "live" && !life.runtime.gone && !dropping ? life.runtime : await inOrder(() => wake());
      scheduleSleep();
      before?.();
      return { frame: await upstream.call(runtime, method, params), runtime };
    });

  const forgetDead = (): void => {
    if (upstream.life.kind === "live" && upstream.life.runtime.gone) runtimeClosed(upstream.life.runtime);
  };

  const wake = async (): Promise<Runtime> => {
    forgetDead();
    // Another call has woken it meanwhile, and what the session says now is for its clients.
    if (upstream.life.kind === "live") return upstream.life.runtime;
    quiet = true;
    try {
      const runtime = await upstream.wake();
      await new Promise<void>((resolve) => setImmediate(resolve));
      if (policy.allow.all) schedules.changed();
      return runtime;
    } finally {
      quiet = false;
    }
  };

  const change: SessionHost["change"] = (method, params) =>
    counted(async () => {
      const { frame, runtime } = await callIn(method, params);
      unqueued.called(method);
      try {
        await upstream.foldCall(method, params as JsonObject, frame.result());
        await upstream.store(runtime);
      } catch (error) {
        if (runtimeOf(upstream.life) === runtime) notStored(error);
        throw error;
      }
      if (method.startsWith("session.tasks.")) background.changed();
      return frame;
    });

  /**
   * What cannot be stored has not happened: the session goes on from its last commit. One that has left its runtime
   * meanwhile does so anyway.
   */
  const notStored = (error: unknown): void => {
    const { life } = upstream;
    if (life.kind !== "live" || dropping) return;
    if (life.runtime.gone) {
      runtimeClosed(life.runtime);
      return;
    }
    log.error({ session: row.id, error }, "what the session did could not be stored");
    dropSoon();
    turns.interrupt(`${notStoredMessage} ${toSquadronError(error).message}`);
  };

  const dropSoon = (): void => {
    if (dropping) return;
    dropping = true;
    inOrder(() => upstream.drop().finally(() => (dropping = false))).catch((error) =>
      log.warn({ session: row.id, error }, "the session could not leave its runtime"),
    );
  };

  /** Others may be waiting for its place or for the end of its runtime. */
  const idleAgain = (): void => {
    const runtime = runtimeOf(upstream.life);
    if (runtime === undefined || !evictable()) return;
    services.residence.settled(runtime);
    services.places.changed();
  };

  const openRequests = createOpenRequests({
    clock,
    deadlineMs: policy.limits.callbackTimeoutMs,
    answer: (method, params) => {
      metrics.callback("timeout");
      call(method, params).catch((error) =>
        log.warn({ session: row.id, method, error }, "a default answer was not taken"),
      );
    },
  });

  const settled = (): void => {
    lastUsedAt = clock.monotonic();
    if (leaveWhenIdle && attachments.length === 0) sleepSoon();
    else scheduleSleep();
    // Events of the same moment are still on their way out.
    setImmediate(idleAgain);
  };

  const background = createBackgroundWork({
    clock,
    ask: async (method) => {
      const runtime = runtimeOf(upstream.life);
      return runtime === undefined ? undefined : (await upstream.call(runtime, method, {})).result();
    },
    onIdle: () => idleAgain(),
    onError: (error) => log.warn({ session: row.id, error }, "the session's tasks could not be listed"),
  });

  const schedules = createSchedules({
    ask: async () => {
      const runtime = runtimeOf(upstream.life);
      return runtime === undefined
        ? undefined
        : (await upstream.call(runtime, "session.schedule.list", {})).result();
    },
    onNone: () => idleAgain(),
    onError: (error) => log.warn({ session: row.id, error }, "the session's plans could not be listed"),
  });

  const unqueued = createUnqueuedTurn({ clock, onLapse: () => settled() });

  const heldEnds = createHeldEnds({ clock, attachments, asks: (connection) => turns.asks(connection) });

  const turns = createHostTurns({
    services,
    policy,
    row,
    attachments,
    call,
    renamed,
    heldEnds,
    rows,
    async mayBegin() {
      const open = services.residence.mayBegin(unit.key);
      if (open === undefined) return;
      atGate = true;
      try {
        idleAgain();
        await open;
      } finally {
        atGate = false;
      }
    },
    onStuck: dropSoon,
    onEnded: (ms) => {
      const runtime = runtimeOf(upstream.life);
      if (runtime !== undefined) services.fleet.turnEnded(runtime, ms);
    },
    onSettled: settled,
  });

  const scheduleSleep = (): void => {
    cancelIdleTimer();
    if (upstream.life.kind === "live" && turns.current === undefined && !row.ephemeral)
      cancelIdleTimer = clock.after(policy.sessions.hibernateAfterMs, sleepSoon);
  };

  const sleepSoon = (): void => {
    hibernate("detach").then(
      // It has work of its own; when that ends nobody need say so.
      (asleep) => asleep || scheduleSleep(),
      (error) => {
        log.warn({ session: row.id, error }, "the session could not leave its runtime");
        scheduleSleep();
      },
    );
  };

  const intake = createEventIntake({
    clock,
    session: row.id,
    attachments,
    turns,
    openRequests,
    heldEnds,
    clientMessageId: (id) => renamed.get(id),
    storeTurn:
      state &&
      (async (end) => {
        await upstream.saved();
        const ending = end && turns.ending(end.data);
        await state.commit(ending && rows.endOf(ending.turn, ending.outcome));
        if (ending !== undefined) rows.stored(ending.turn);
      }),
    onNotStored: notStored,
    onFailure: (error) => log.error({ session: row.id, error }, "an event of a session was not handled"),
    onEvent: (type, data, agentId) => {
      if (type === "session.background_tasks_changed") background.changed();
      if (scheduleEvents.has(type)) schedules.changed();
      if (unqueued.observe(type, data, agentId, turns.current !== undefined)) intake.quiet().then(settled);
      upstream.foldEvent(type, data, agentId);
      if (
        !row.ephemeral &&
        type === "session.title_changed" &&
        isObject(data) &&
        typeof data.title === "string"
      ) {
        store.sessions
          .update(row.id, { title: data.title })
          .catch((error) => log.error({ session: row.id, error }, "the title of the session was not stored"));
      }
    },
  });

  const remove = (attachment: Attachment): void => {
    const at = attachments.indexOf(attachment);
    if (at >= 0) attachments.splice(at, 1);
    if (recordWriter === attachment) recordWriter = undefined;
  };

  const attachmentOf = (connection: Connection): Attachment | undefined =>
    attachments.find((attachment) => attachment.connection === connection);

  const attach = (connection: Connection, name: string, declarations: Declarations): Attachment => {
    const attachment: Attachment = { connection, host, name, declarations, interests: new Map() };
    const earlier = attachmentOf(connection);
    if (earlier !== undefined) remove(earlier);
    attachments.push(attachment);
    leaveWhenIdle = false;
    return attachment;
  };

  const openFor: SessionHost["open"] = (connection, name, opening) =>
    inOrder(async () => {
      const { declarations, recorded } = splitParameters(opening.parameters);
      const before = { memory: upstream.memory, attachment: attachmentOf(connection), recordWriter };
      const attachment = attach(connection, name, declarations);
      try {
        await openAs(attachment, opening, recorded);
        await upstream.save();
        if (policy.allow.all) schedules.changed();
      } catch (error) {
        upstream.restore(before.memory);
        // Others may have begun to watch meanwhile.
        remove(attachment);
        if (before.attachment !== undefined) attachments.push(before.attachment);
        recordWriter = before.recordWriter;
        throw error;
      } finally {
        lastUsedAt = clock.monotonic();
        scheduleSleep();
      }
      return { attachment, result: upstream.lastOpened };
    });

  const openAs = async (attachment: Attachment, opening: Opening, recorded: JsonObject): Promise<void> => {
    if (upstream.life.kind === "deleted") throw sessionDeleted();
    forgetDead();
    const trace = pick(opening.parameters, ["traceparent", "tracestate"]);
    if (opening.kind === "create" && upstream.created) {
      upstream.lend(opening.githubToken);
      recordWriter ??= attachment;
      await upstream.wake();
      return upstream.refresh();
    }
    upstream.remember(recorded, opening);
    recordWriter = attachment;
    if (opening.kind === "create") return upstream.create(trace);
    return upstream.resume({
      ...trace,
      ...pick(opening.parameters, ["disableResume", "continuePendingWork"]),
    });
  };

  const detach: SessionHost["detach"] = (attachment, how = "detach") =>
    inOrder(async () => {
      if (!attachments.includes(attachment)) return;
      const last = attachments.length === 1;
      if (last) {
        leaveWhenIdle = attachment.connection.link.kind === "sdk";
        if (leaveWhenIdle && turns.current === undefined && !unqueued.running) {
          await upstream
            .leave(how)
            .catch((error) =>
              log.warn({ session: row.id, error }, "the session could not leave its runtime"),
            );
        }
      }
      remove(attachment);
      if (!last) return upstream.refresh();
      scheduleSleep();
    });

  const runtimeClosed = (runtime: Runtime): void => {
    if (runtimeOf(upstream.life) !== runtime) return;
    const turn = turns.current;
    const running = turn?.state.kind === "running";
    const told = intake.quiet();
    const alone = unqueued.running;
    upstream.lost();
    // An end that is being stored counts if it can be. One that is still being submitted is told by its own call
    // whether a runtime has got it.
    told.then(() => {
      if (running && turns.current === turn) turns.interrupt(runtimeGone);
      else if (alone) turns.announce(runtimeGone);
      letGo();
    });
  };

  const host: SessionHost = {
    row,
    unit,
    name: options.name,
    attachments,
    get record() {
      return upstream.record;
    },
    get life() {
      return upstream.life.kind;
    },
    get created() {
      return upstream.created;
    },
    get waiting() {
      return turns.waiting;
    },
    get busy() {
      return turns.current !== undefined || turns.waiting > 0 || unqueued.running;
    },
    get grant() {
      return upstream.grant;
    },
    get inferenceBy() {
      return upstream.memory.credentials.ownInference ? recordWriter?.connection : undefined;
    },
    get runtime(): Runtime | undefined {
      return runtimeOf(upstream.life);
    },
    open: openFor,
    watch: (connection, name) => attach(connection, name, watcherDeclares),
    detach,
    call,
    change,
    abandon: () => hibernate("abandon"),
    get evictable() {
      return evictable();
    },
    get lastUsedAt() {
      return lastUsedAt;
    },
    send: turns.send,
    abort: turns.abort,
    stop(message) {
      if (unqueued.running && turns.current === undefined) turns.announce(message);
      turns.stop(message);
    },
    async settle() {
      while (turns.current !== undefined || unqueued.running) {
        await turns.current?.ended;
        await unqueued.over();
      }
      await intake.quiet();
    },
    async updateOptions(changed) {
      const shown = upstream.shield(changed);
      const frame = await change("session.options.update", shown);
      await upstream.foldOptions(shown);
      return frame;
    },
    async addProviders(params) {
      const shown = upstream.shield(params);
      const frame = await change("session.provider.add", shown);
      await upstream.foldProviders(shown);
      return frame;
    },
    async registerInterest(attachment, eventType) {
      if (attachment.interests.size >= maxInterests)
        throw new SquadronError(
          "rate_limited",
          `This client has ${maxInterests} interests in the session's events; release one first.`,
          { details: { limit: maxInterests } },
        );
      const frame = await call("session.eventLog.registerInterest", { eventType });
      const handle = interestHandle(frame);
      attachment.interests.set(handle, { eventType, handle });
      return frame;
    },
    mayAnswer: openRequests.mayAnswer,
    clientMessageId: (id) => renamed.get(id),
    countTokens: turns.countTokens,
    event(frame) {
      const { kind } = upstream.life;
      // What comes of an earlier stay in this runtime is history by now.
      if (quiet || dropping || kind === "hibernated") return;
      // A runtime may say so when the session has been woken in it again.
      if (frame.eventType === "session.shutdown" && kind !== "settling") return;
      intake.take(frame);
    },
    callback: (method, params) =>
      counted(() =>
        askAttachment({
          method,
          params,
          attachments,
          sender: turns.current?.sender,
          recordWriter,
          policy,
          log,
          metrics,
        }),
      ),
    runtimeClosed,
    bury: (remove, may) =>
      inOrder(async () => {
        if (upstream.life.kind === "deleted" || !may(host)) return false;
        await upstream.bury(remove);
        cancelIdleTimer();
        turns.interrupt("The session has been deleted.");
        return true;
      }),
  };
  return host;
};
