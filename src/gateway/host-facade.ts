import type { Unit } from "../kernel/isolation.ts";
import type { SessionName, SessionRow } from "../store/store.ts";
import { sessionDeleted } from "./deleted.ts";
import type { HeldEnds } from "./held-ends.ts";
import type { HostCalls } from "./host-calls.ts";
import type { EventIntake } from "./host-events.ts";
import type { HostLosses } from "./host-losses.ts";
import type { HostParts } from "./host-parts.ts";
import type { HostRequests } from "./host-requests.ts";
import type { HostTurns } from "./host-turns.ts";
import type { InOrder } from "./in-order.ts";
import { registerInterest } from "./interests.ts";
import type { KnownMessages } from "./known-messages.ts";
import { runtimeOf } from "./life.ts";
import type { OwnWork } from "./own-work.ts";
import type { Presence } from "./presence.ts";
import type { SessionAccess } from "./session-access.ts";
import type { SessionAttachments } from "./session-attachments.ts";
import type { SessionStay } from "./session-stay.ts";
import type { SessionUpstream } from "./session-upstream.ts";
import type { Attachment, SessionHost } from "./vocabulary.ts";

/** An open session as the rest of the gateway sees it: which of its parts answers what. */
export const createHostFacade = (options: {
  readonly row: SessionRow;
  readonly names: readonly SessionName[];
  readonly unit: Unit;
  readonly attachments: readonly Attachment[];
  readonly access: SessionAccess;
  readonly messages: KnownMessages;
  readonly upstream: SessionUpstream;
  readonly stay: SessionStay;
  readonly inOrder: InOrder;
  readonly calls: HostCalls;
  readonly holders: SessionAttachments;
  readonly parts: HostParts;
  readonly requests: HostRequests;
  readonly turns: HostTurns;
  readonly heldEnds: HeldEnds;
  readonly ownWork: OwnWork;
  readonly intake: EventIntake;
  readonly losses: HostLosses;
  readonly presence: Pick<Presence, "typing">;
}): SessionHost => {
  const { row, messages, upstream, stay, calls, holders, requests, turns, heldEnds, ownWork } = options;
  const { call, change } = calls;
  /** Questions of the runtime that clients are answering. */
  let callbacks = 0;

  const host: SessionHost = {
    row,
    unit: options.unit,
    name: options.names.find(({ user }) => user === row.owner)?.name ?? "",
    attachments: options.attachments,
    access: options.access,
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
    changePart: options.parts.change,
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
      options.presence.typing(row.id, sender.principal.user, false);
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
      await options.intake.quiet();
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
      if (stay.hears(frame.eventType)) options.intake.take(frame);
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
    runtimeClosed: options.losses.runtimeClosed,
    bury: (remove, may) =>
      options.inOrder.run(async () => {
        if (upstream.life.kind === "deleted" || !may(host)) return false;
        await upstream.bury(remove);
        stay.stopTimer();
        turns.end("The session has been deleted.", sessionDeleted());
        return true;
      }),
  };
  return host;
};
