import type { Policy } from "../config/config.ts";
import { isObject } from "../kernel/json.ts";
import type { SessionState } from "../sessions/session-state.ts";
import type { SessionRow } from "../store/store.ts";
import { createHeldEnds, type HeldEnds } from "./held-ends.ts";
import type { HostCalls } from "./host-calls.ts";
import { createEventIntake, type EventIntake } from "./host-events.ts";
import type { HostRequests } from "./host-requests.ts";
import type { HostServices } from "./host-services.ts";
import { createHostTurns, type HostTurns } from "./host-turns.ts";
import { createTitleKeeper } from "./kept-title.ts";
import type { KnownMessages } from "./known-messages.ts";
import { runtimeOf } from "./life.ts";
import { noticeOf } from "./own-notice.ts";
import type { OwnWork } from "./own-work.ts";
import type { PolicyCalls } from "./policy-calls.ts";
import type { SessionAccess } from "./session-access.ts";
import type { SessionStay } from "./session-stay.ts";
import type { SessionUpstream } from "./session-upstream.ts";
import { shownEvent } from "./shown-event.ts";
import type { ToldEvent } from "./told-event.ts";
import { withTurnsTold } from "./told-turns.ts";
import { createTurnGate, type TurnGate } from "./turn-gate.ts";
import { createTurnRows } from "./turn-rows.ts";
import type { Attachment } from "./vocabulary.ts";

/** The path of a session's turns, see ARCHITECTURE.md: from the message through the runtime to the end that is told. */
export interface TurnPath {
  readonly turns: HostTurns;
  readonly gate: TurnGate;
  /** Where the events come back. */
  readonly intake: EventIntake;
  readonly heldEnds: HeldEnds;
}

/** Puts the parts of that path together: how turns hear of events, and events of turns. */
export const createTurnPath = (options: {
  readonly services: HostServices;
  readonly row: SessionRow;
  readonly policy: Policy;
  readonly attachments: readonly Attachment[];
  readonly access: SessionAccess;
  readonly messages: KnownMessages;
  /** Undefined for a one-shot session, of which nothing is kept. */
  readonly state: SessionState | undefined;
  readonly upstream: SessionUpstream;
  readonly stay: SessionStay;
  readonly call: HostCalls["call"];
  /** Asks the session's runtime without waking it. */
  readonly ask: (method: string) => Promise<unknown>;
  readonly requests: HostRequests;
  readonly policyCalls: PolicyCalls;
  readonly ownWork: OwnWork;
  /** Takes in who takes part now, before a turn begins. */
  readonly learnParts: () => Promise<void>;
  readonly tellReaders: (event: ToldEvent) => void;
  readonly onNotStored: (error: unknown) => void;
  /** A turn has ended. */
  readonly onSettled: () => void;
}): TurnPath => {
  const { services, row, policy, attachments, access, messages, state, upstream, stay } = options;
  const { call, requests, policyCalls, ownWork, tellReaders } = options;
  const { clock, store, log } = services;

  const heldEnds = createHeldEnds({ clock, attachments, asks: (connection) => turns.asks(connection) });

  const rows = withTurnsTold(createTurnRows({ store, clock, log, row }), {
    clock,
    tell: tellReaders,
    waiting: () => turns.waiting,
  });

  const gate = createTurnGate({
    unitKey: row.unit,
    residence: services.residence,
    fleet: services.fleet,
    stay,
  });

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
      if (access.shared) await options.learnParts();
      await gate.pass();
    },
    onStuck: stay.dropSoon,
    async isProcessing() {
      const told = await options.ask("session.metadata.isProcessing");
      return !(isObject(told) && told.processing === false);
    },
    eventsTakenIn: () => intake.quiet(),
    tellOwed: (type, data) => intake.take(noticeOf(row.id, clock, type, data)),
    onRunning: () => {
      const runtime = runtimeOf(upstream.life);
      if (runtime !== undefined) gate.entered(runtime);
    },
    onEnded: gate.left,
    onSettled: options.onSettled,
  });

  const keepTitle = createTitleKeeper({ store, row, epoch: () => state?.epoch, log });

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
    onNotStored: options.onNotStored,
    tellReaders,
    onQuiet: stay.idleAgain,
    onFailure: (error) => log.error({ session: row.id, error }, "an event of a session was not handled"),
    onEvent: (type, data, agentId) => {
      if (ownWork.observe(type, data, agentId, turns.current !== undefined))
        intake.quiet().then(options.onSettled);
      upstream.held.foldEvent(type, data, agentId);
      keepTitle(type, data);
    },
  });

  return { turns, gate, intake, heldEnds };
};
