import type { Policy } from "../config/config.ts";
import type { Runtime } from "../fleet/fleet.ts";
import { type SquadronError, toSquadronError } from "../kernel/errors.ts";
import type { Unit } from "../kernel/isolation.ts";
import { isObject } from "../kernel/json.ts";
import { fileBoundsOf } from "../sessions/file-bounds.ts";
import { createSessionState } from "../sessions/session-state.ts";
import type { KnownMessage, SessionName, SessionRow } from "../store/store.ts";
import { askedOfPeople, unite } from "./declarations.ts";
import { sessionDeleted } from "./deleted.ts";
import { createHeldEnds } from "./held-ends.ts";
import { createHostCalls } from "./host-calls.ts";
import { createEventIntake } from "./host-events.ts";
import { createHostParts } from "./host-parts.ts";
import { createHostRequests } from "./host-requests.ts";
import type { HostServices } from "./host-services.ts";
import { createHostTurns } from "./host-turns.ts";
import { createInOrder } from "./in-order.ts";
import { registerInterest } from "./interests.ts";
import { createKnownMessages } from "./known-messages.ts";
import { runtimeOf } from "./life.ts";
import { noticeOf } from "./own-notice.ts";
import { createOwnWork } from "./own-work.ts";
import { createPolicyCalls } from "./policy-calls.ts";
import { policyDeclares } from "./policy-tools.ts";
import { createSessionAccess } from "./session-access.ts";
import { createSessionAttachments } from "./session-attachments.ts";
import { createSessionStay } from "./session-stay.ts";
import { createSessionUpstream } from "./session-upstream.ts";
import { shownEvent } from "./shown-event.ts";
import type { ToldEvent } from "./told-event.ts";
import { withTurnsTold } from "./told-turns.ts";
import { createTurnRows } from "./turn-rows.ts";
import { runtimeGone } from "./turn-runner.ts";
import type { Attachment, SessionHost } from "./vocabulary.ts";

const lostMessage =
  "Another node has taken this session over; the turn was interrupted here. Send the message again if you want it answered.";

/** What a turn did cannot be stored for a reason that is still there when the same is sent again. */
const lasting: ReadonlySet<string> = new Set(["too_large", "unprocessable"]);

const notStoredMessage = ({ code, message }: SquadronError): string => {
  const again = lasting.has(code) ? "" : "; send the message again if you want it answered";
  return `What this turn did could not be stored and counts as not done${again}. ${message}`;
};

/** Puts the parts of an open session together: each is a file of its own, and this one says how they hear of each other. */
export const createSessionHost = (options: {
  readonly services: HostServices;
  readonly row: SessionRow;
  readonly names: readonly SessionName[];
  readonly policy: Policy;
  readonly messages: ReadonlyMap<string, KnownMessage>;
  /** Called when nothing may hold the host any more. */
  readonly onUnused: () => void;
}): SessionHost => {
  const { services, row, policy } = options;
  const { clock, store, log, metrics } = services;
  const unit: Unit = { isolation: row.isolation, key: row.unit };
  const messages = createKnownMessages({ known: options.messages, owner: row.owner });
  const attachments: Attachment[] = [];
  const access = createSessionAccess(row, options.names);
  const told = services.eventLogs.hold(row);
  /** Nobody can find a one-shot session. */
  const tellReaders = (event: ToldEvent): void => {
    if (!row.ephemeral) told.tell(event);
  };
  /** The current turn waits until its unit's runtime has been emptied; nothing of it has begun. */
  let atGate = false;
  /** Questions of the runtime that clients are answering. */
  let callbacks = 0;

  /** Events find the host only while it is known: it is forgotten when nobody waits for it, nor is just about to use it. */
  const letGo = (): void => {
    if (attachments.length > 0) return;
    setImmediate(() => {
      if (inOrder.pending === 0) options.onUnused();
    });
  };

  /** Operations that change who is attached or where the session is. */
  const inOrder = createInOrder(letGo);

  const state = row.ephemeral
    ? undefined
    : createSessionState({
        store,
        clock,
        units: services.units,
        session: row.id,
        bounds: fileBoundsOf(policy),
        record: () => upstream.held.pending,
        messages: () => messages.pending,
        onFenced() {
          metrics.writeFenced();
          // After whoever wanted to store something has said what became of it.
          setImmediate(() => throwOut(lostMessage));
        },
        watch: told,
        toRun: () => turns.toRun.map(({ id }) => id),
      });

  /** Whoever is attached: people answer over HTTP. Nobody can find a one-shot session. */
  const asksPeople = (): boolean => upstream.held.record.facts.overHttp === true && !row.ephemeral;

  const upstream = createSessionUpstream({
    services,
    row,
    unit,
    policy,
    attachments,
    state,
    takePlace: () => services.places.take(stay.resident),
    onLeft: (runtime) => {
      forgetUnstored();
      requests.open.withdraw();
      policyCalls.clear();
      ownWork.clear();
      services.places.leave(stay.resident);
      if (runtime !== undefined) services.residence.left(runtime, policy.sessions.hibernateAfterMs);
    },
    declared: () => {
      const { given } = upstream.held;
      return unite(
        [
          ...attachments.map(({ declarations }) => declarations),
          ...(given === undefined ? [] : [policyDeclares(given)]),
        ],
        asksPeople() ? askedOfPeople : [],
      );
    },
    async onMoved() {
      messages.learn(await store.messages.of(row.id));
      await parts.learn();
    },
    onLost: () => throwOut(lostMessage),
  });

  /** What was being stored when the session left its runtime counts if it can be, and is told before. */
  const forgetUnstored = async (): Promise<void> => {
    await intake.quiet();
    await state?.quiet();
    // A wake that has begun meanwhile says itself where the history ends.
    const { kind } = upstream.life;
    if (kind === "hibernated" || kind === "deleted") told.left();
  };

  const stay = createSessionStay({
    services,
    row,
    policy,
    upstream,
    inOrder,
    hasWork: () =>
      (!atGate && turns.current !== undefined) ||
      calls.open > 0 ||
      requests.open.size > 0 ||
      policyCalls.size > 0 ||
      ownWork.running ||
      intake.holding,
    hasTurn: () => turns.current !== undefined,
    onWoken: () => ownWork.seePlans(),
    onDied: (runtime) => runtimeClosed(runtime),
  });

  const calls = createHostCalls({
    upstream,
    stay,
    inOrder,
    onAnswered: (method) => ownWork.called(method),
    onChanged: (method) => ownWork.changed(method),
    onNotStored: (error) => notStored(error),
  });
  const { call, change } = calls;

  const holders = createSessionAttachments({
    attachments,
    host: () => host,
    access,
    upstream,
    stay,
    inOrder,
    hasTurn: () => turns.current !== undefined || ownWork.inTurn,
    onOpened: () => ownWork.seePlans(),
    onLeft: (attachment, successor) => requests.open.left(attachment, successor),
    onMoved: () => services.presence.moved(row.id),
    changed: calls.changed,
    clock,
    log,
  });

  /**
   * What cannot be stored has not happened: the session goes on from its last commit. One that has left its runtime
   * meanwhile does so anyway.
   */
  const notStored = (error: unknown): void => {
    log.error({ session: row.id, error }, "what the session did could not be stored");
    throwOut(notStoredMessage(toSquadronError(error)));
  };

  const throwOut = (message: string): void => {
    const { life } = upstream;
    if (life.kind !== "live" || stay.dropping) return;
    if (life.runtime.gone) {
      runtimeClosed(life.runtime);
      return;
    }
    const alone = ownWork.inTurn && turns.current === undefined;
    stay.dropSoon();
    if (alone) turns.announce(message);
    else turns.interrupt(message);
  };

  const requests = createHostRequests({
    services,
    row,
    policy,
    attachments,
    turn: () => turns.current,
    roleOf: (who) => access.partOf(who)?.role,
    recordWriter: () => holders.recordWriter,
    asksPeople,
    ofPolicy: (requestId) => policyCalls.owns(requestId),
    call: (method, params) => call(method, params),
    tellReaders,
  });

  const policyCalls = createPolicyCalls({
    given: () => upstream.held.given,
    row,
    webhooks: services.webhooks,
    asking: () => ({
      turnId: turns.current?.id ?? null,
      user: turns.current?.sender.principal.user ?? null,
    }),
    call,
    onIdle: () => stay.idleAgain(),
    metrics,
    log,
  });

  const settled = (): void => stay.settled(holders.leaveWhenIdle);

  /** Asks the session's runtime without waking it. */
  const askIfAwake = async (method: string): Promise<unknown> => {
    const runtime = runtimeOf(upstream.life);
    return runtime === undefined ? undefined : (await upstream.call(runtime, method, {})).result();
  };

  const ownWork = createOwnWork({
    clock,
    session: row.id,
    shells: services.shells,
    plans: policy.allow.all,
    ask: askIfAwake,
    onIdle: stay.idleAgain,
    onLapse: settled,
    turnTimeoutMs: policy.limits.turnTimeoutMs,
    onStuck: () =>
      throwOut(
        "A turn that nobody had sent took longer than a turn may; what it did since counts as not done.",
      ),
    log,
  });

  const heldEnds = createHeldEnds({ clock, attachments, asks: (connection) => turns.asks(connection) });

  const rows = withTurnsTold(createTurnRows({ store, clock, log, row }), {
    clock,
    tell: tellReaders,
    waiting: () => turns.waiting,
  });

  /** Tells the fleet that the turn which runs there has ended. */
  let endInRuntime: (() => void) | undefined;
  const turns = createHostTurns({
    services,
    policy,
    row,
    attachments,
    access,
    call,
    messages,
    heldEnds,
    rows,
    async mayBegin() {
      if (access.shared) await parts.learn();
      const open = services.residence.mayBegin(unit.key);
      const { leaving } = stay;
      if (open === undefined && leaving === undefined) return;
      atGate = true;
      try {
        stay.idleAgain();
        await Promise.all([open, leaving]);
      } finally {
        atGate = false;
      }
    },
    onStuck: stay.dropSoon,
    async isProcessing() {
      const told = await askIfAwake("session.metadata.isProcessing");
      return !(isObject(told) && told.processing === false);
    },
    eventsTakenIn: () => intake.quiet(),
    tellOwed: (type, data) => intake.take(noticeOf(row.id, clock, type, data)),
    onRunning: () => {
      const runtime = runtimeOf(upstream.life);
      if (runtime !== undefined) endInRuntime ??= services.fleet.turnBegan(runtime);
    },
    onEnded: () => {
      endInRuntime?.();
      endInRuntime = undefined;
    },
    onSettled: settled,
  });

  const intake = createEventIntake({
    clock,
    session: row.id,
    shown: (event) => shownEvent(event, row, (id) => messages.all.get(id)),
    attachments,
    turns,
    requests,
    policyCalls,
    heldEnds,
    clientMessageId: messages.clientId,
    storeTurn:
      state &&
      (async (end) => {
        const ending = end && turns.ending(end.data);
        await (ending === undefined ? state.commit() : rows.storeWith(ending, state.commit));
      }),
    onNotStored: notStored,
    tellReaders,
    onQuiet: stay.idleAgain,
    onFailure: (error) => log.error({ session: row.id, error }, "an event of a session was not handled"),
    onEvent: (type, data, agentId) => {
      if (ownWork.observe(type, data, agentId, turns.current !== undefined)) intake.quiet().then(settled);
      upstream.held.foldEvent(type, data, agentId);
      if (type === "session.title_changed" && isObject(data)) keepTitle(data.title);
    },
  });

  const keepTitle = (title: unknown): void => {
    if (row.ephemeral || typeof title !== "string") return;
    store.sessions
      .update(row.id, { title }, state?.epoch)
      .catch((error) => log.error({ session: row.id, error }, "the title of the session was not stored"));
  };

  const runtimeClosed = (runtime: Runtime): void => {
    if (runtimeOf(upstream.life) !== runtime) return;
    const turn = turns.current;
    const running = turn?.state.kind === "running";
    const told = intake.quiet();
    const alone = ownWork.inTurn;
    upstream.lost();
    // An end that is being stored counts if it can be. One that is still being submitted is told by its own call
    // whether a runtime has got it.
    told.then(() => {
      if (running && turns.current === turn) turns.interrupt(runtimeGone);
      else if (alone) turns.announce(runtimeGone);
      letGo();
    });
  };

  const parts = createHostParts({
    services,
    row,
    access,
    holders,
    turns,
    tellReaders,
    onChanged: letGo,
  });

  const host: SessionHost = {
    row,
    unit,
    name: options.names.find(({ user }) => user === row.owner)?.name ?? "",
    attachments,
    access,
    get record() {
      return upstream.held.record;
    },
    get life() {
      return upstream.life.kind;
    },
    get created() {
      return upstream.created;
    },
    get turn() {
      return turns.current;
    },
    get waiting() {
      return turns.waiting;
    },
    get busy() {
      return turns.current !== undefined || turns.waiting.length > 0 || ownWork.inTurn;
    },
    get grant() {
      return { ...upstream.held.grant, spent: () => turns.spent };
    },
    get inferenceBy() {
      return upstream.held.memory.credentials.ownInference ? holders.recordWriter?.connection : undefined;
    },
    get runtime() {
      return runtimeOf(upstream.life);
    },
    open: holders.open,
    watch: holders.watch,
    detach: holders.detach,
    changePart: parts.change,
    call,
    change,
    abandon: () => stay.hibernate("abandon"),
    get evictable() {
      return stay.evictable;
    },
    get lastUsedAt() {
      return stay.lastUsedAt;
    },
    send(sender, params, how) {
      services.presence.typing(row.id, sender.principal.user, false);
      return turns.send(sender, params, how);
    },
    // Who is being asked something may send before it answers: it would wait for itself.
    mayCrossEnd: (connection) => heldEnds.mayCross(connection) && requests.open.size === 0 && callbacks === 0,
    abort: turns.abort,
    findTurn: turns.find,
    unsteered: turns.unsteered,
    resume: turns.resume,
    stop(message) {
      if (ownWork.inTurn && turns.current === undefined) turns.announce(message);
      turns.stop(message);
    },
    async settle() {
      while (turns.current !== undefined || turns.waiting.length > 0 || ownWork.inTurn) {
        await (turns.current ?? turns.waiting[0])?.ended;
        await ownWork.turnOver();
      }
      await intake.quiet();
    },
    async updateOptions(changed) {
      const shown = upstream.held.shield(changed);
      return calls.setOptions(shown);
    },
    async addProviders(params) {
      const shown = upstream.held.shield(params);
      return change("session.provider.add", shown, () => upstream.held.foldProviders(shown));
    },
    registerInterest: (attachment, eventType) => registerInterest(attachment, eventType, call),
    requests: requests.shown,
    clientMessageId: messages.clientId,
    messages: messages.all,
    countTokens: turns.countTokens,
    event(frame) {
      if (stay.hears(frame.eventType)) intake.take(frame);
    },
    callback: (method, params) =>
      calls.counted(async () => {
        callbacks++;
        try {
          return await requests.callback(method, params);
        } finally {
          callbacks--;
        }
      }),
    runtimeClosed,
    bury: (remove, may) =>
      inOrder.run(async () => {
        if (upstream.life.kind === "deleted" || !may(host)) return false;
        await upstream.bury(remove);
        stay.stopTimer();
        turns.end("The session has been deleted.", sessionDeleted());
        return true;
      }),
  };
  return host;
};
