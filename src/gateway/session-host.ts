import type { Policy } from "../config/config.ts";
import type { Unit } from "../kernel/isolation.ts";
import { fileBoundsOf } from "../sessions/file-bounds.ts";
import { createSessionState } from "../sessions/session-state.ts";
import type { KnownMessage, SessionName, SessionRow } from "../store/store.ts";
import { askedOfPeople, unite } from "./declarations.ts";
import { createHostCalls } from "./host-calls.ts";
import { createHostFacade } from "./host-facade.ts";
import { createHostLosses } from "./host-losses.ts";
import { createHostParts } from "./host-parts.ts";
import { createHostRequests } from "./host-requests.ts";
import type { HostServices } from "./host-services.ts";
import { createInOrder } from "./in-order.ts";
import { createKnownMessages } from "./known-messages.ts";
import { runtimeOf } from "./life.ts";
import { createOwnWork } from "./own-work.ts";
import { createPolicyCalls } from "./policy-calls.ts";
import { policyDeclares } from "./policy-tools.ts";
import { createSessionAccess } from "./session-access.ts";
import { createSessionAttachments } from "./session-attachments.ts";
import { createSessionStay } from "./session-stay.ts";
import { createSessionUpstream } from "./session-upstream.ts";
import type { ToldEvent } from "./told-event.ts";
import { createTurnPath } from "./turn-path.ts";
import type { Attachment, SessionHost } from "./vocabulary.ts";

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
          setImmediate(() => losses.takenOver());
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
      stay.stopTimer();
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
    onLost: () => losses.takenOver(),
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
      (!gate.holding && turns.current !== undefined) ||
      calls.open > 0 ||
      requests.open.size > 0 ||
      policyCalls.size > 0 ||
      ownWork.running ||
      intake.holding,
    hasTurn: () => turns.current !== undefined,
    onWoken: () => ownWork.seePlans(),
    onDied: (runtime) => losses.runtimeClosed(runtime),
  });

  const calls = createHostCalls({
    upstream,
    stay,
    inOrder,
    onAnswered: (method) => ownWork.called(method),
    onChanged: (method) => ownWork.changed(method),
    onNotStored: (error) => losses.notStored(error),
  });
  const { call } = calls;

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
    onStuck: () => losses.stuck(),
    log,
  });

  const { turns, gate, intake, heldEnds } = createTurnPath({
    services,
    row,
    policy,
    attachments,
    access,
    messages,
    state,
    upstream,
    stay,
    call,
    ask: askIfAwake,
    requests,
    policyCalls,
    ownWork,
    learnParts: () => parts.learn(),
    tellReaders,
    onNotStored: (error) => losses.notStored(error),
    onSettled: settled,
  });

  const losses = createHostLosses({
    session: row.id,
    upstream,
    stay,
    turns,
    ownWork,
    intake,
    onTold: letGo,
    log,
  });

  const parts = createHostParts({
    services,
    row,
    access,
    holders,
    turns,
    tellReaders,
    onChanged: letGo,
  });

  const host = createHostFacade({
    row,
    names: options.names,
    unit,
    attachments,
    access,
    messages,
    upstream,
    stay,
    inOrder,
    calls,
    holders,
    parts,
    requests,
    turns,
    heldEnds,
    ownWork,
    intake,
    losses,
    presence: services.presence,
  });
  return host;
};
