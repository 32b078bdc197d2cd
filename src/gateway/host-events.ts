import type { Clock } from "../kernel/clock.ts";
import { isObject } from "../kernel/json.ts";
import type { Envelope } from "../wire/envelope.ts";
import { type Audience, bystanders, receivers, turnEnds } from "./delivery.ts";
import { eventTypesWithIds, rewriteEvent } from "./event-ids.ts";
import type { HeldEnds } from "./held-ends.ts";
import type { HostRequests } from "./host-requests.ts";
import type { HostTurns } from "./host-turns.ts";
import type { PolicyCalls } from "./policy-calls.ts";
import { requestEventTypes } from "./request-kinds.ts";
import { scheduleEvents } from "./schedules.ts";
import { forEverybody, hasFoundersFields } from "./shown-event.ts";
import { type ToldEvent, toldEvent } from "./told-event.ts";
import type { Attachment, Connection } from "./vocabulary.ts";

/** Event types that the host must understand; all others pass with only the session id replaced. */
const understood: ReadonlySet<string> = new Set([
  ...eventTypesWithIds,
  ...requestEventTypes,
  ...turnEnds,
  ...scheduleEvents,
  "assistant.message_start",
  "assistant.turn_end",
  "assistant.turn_start",
  "assistant.usage",
  "model.turn_failed",
  "session.background_tasks_changed",
  "session.context_changed",
  "session.model_change",
  "session.permissions_changed",
  "session.resume",
  "session.title_changed",
  "subagent.deselected",
  "subagent.selected",
]);

/** How long an idle waits for the error of its turn. A runtime tells both at once, but not always in this order. */
const errorGraceMs = 500;

/** How long `assistant.idle` waits for the `session.idle` that mostly comes with it: then both are stored by one commit. */
const idleGraceMs = 20;

/** A long turn is stored at the end of a step when nothing of it has been for so long. */
const stepMs = 1_000;

/** Stores what a turn has done; `end` is the data of the idle that ends it. Rejects when it could not be stored. */
export type StoreTurn = (end: { readonly data: unknown } | undefined) => Promise<void>;

/** Takes in the events of one session from its runtime and fans them out to its attachments. */
export interface EventIntake {
  take(frame: Envelope): void;
  /** Are events held back until what they tell is stored? */
  readonly holding: boolean;
  /** Resolves when none are. */
  quiet(): Promise<void>;
}

/** An event that has been looked at. */
interface Seen {
  readonly frame: Envelope;
  readonly type: string;
  readonly params: object;
  readonly event: unknown;
  readonly data: unknown;
}

export const createEventIntake = (options: {
  readonly session: string;
  /** An event as the readers of the session's stream see it. */
  readonly shown: (event: unknown) => unknown;
  readonly attachments: readonly Attachment[];
  readonly turns: HostTurns;
  readonly requests: Pick<HostRequests, "answersFor" | "seen">;
  readonly policyCalls: PolicyCalls;
  readonly heldEnds: HeldEnds;
  readonly clientMessageId: (runtimeMessageId: string) => string | undefined;
  readonly onEvent: (type: string, data: unknown, agentId: unknown) => void;
  /** Undefined when nothing of the session is kept. */
  readonly storeTurn: StoreTurn | undefined;
  readonly onNotStored: (error: unknown) => void;
  /** Tells those who read the session's stream. */
  readonly tellReaders: (event: ToldEvent) => void;
  /** Nothing is held back any more. */
  readonly onQuiet: () => void;
  /** An event could not be handled, by a mistake of ours. */
  readonly onFailure: (error: unknown) => void;
  readonly clock: Clock;
}): EventIntake => {
  const { session, attachments, turns, requests, policyCalls, heldEnds, clock, storeTurn } = options;
  let releaseIdle: (() => void) | undefined;
  let idleCame = (): void => {};
  const arrived: Envelope[] = [];
  let draining: Promise<void> | undefined;
  let storedAt = clock.monotonic();

  /** The node's own part of an event: it counts as soon as it comes, before anybody is told. */
  const look = (frame: Envelope): Seen => {
    const type = frame.eventType ?? "";
    const params = understood.has(type) ? frame.params() : undefined;
    const event = isObject(params) ? params.event : undefined;
    const data = isObject(event) ? event.data : undefined;
    if (isObject(params)) {
      const agentId = isObject(event) ? event.agentId : undefined;
      turns.observe(type, data, agentId);
      options.onEvent(type, data, agentId);
    }
    return { frame, type, params: params ?? {}, event, data };
  };

  const tell = ({ frame, type, params, event, data }: Seen): void => {
    if (type === "user.message") {
      heldEnds.release();
      storedAt = clock.monotonic();
    }
    const sender = turns.current?.sender;
    const audience: Audience = {
      attachments,
      sender,
      serves: (connection) => turns.serves(connection),
      waits: (connection) => turns.waits(connection),
      hasAsked: (connection) => turns.hasAsked(connection),
      answers: requests.answersFor(sender),
    };
    const ours = policyCalls.concerns(type, data);
    const to = ours ? bystanders(audience, type, data) : receivers(audience, type, data);
    const tellOne = (attachment: Attachment): void => {
      const { connection, name, founder } = attachment;
      if (eventTypesWithIds.has(type) || (!founder && hasFoundersFields(type))) {
        const shown = rewriteEvent(
          founder ? event : forEverybody(event),
          (id) => (id === session ? name : undefined),
          options.clientMessageId,
        );
        connection.link.notify("session.event", { ...params, sessionId: name, event: shown });
      } else if (turnEnds.has(type) && comesLate(connection, type)) {
        heldEnds.hold(
          attachment,
          () => connection.link.sendRaw(frame.withSessionId(name)),
          turns.failed ? "failure" : undefined,
        );
      } else {
        connection.link.sendRaw(frame.withSessionId(name));
        if (!turnEnds.has(type)) return;
        if (connection === sender) heldEnds.drop(attachment);
        else heldEnds.told(connection);
      }
    };
    for (const attachment of to) guarded(() => tellOne(attachment));
    guarded(() => tellReaders(frame, type, event));
    if (ours) policyCalls.answer(type, data);
    else if (requestEventTypes.has(type)) {
      policyCalls.closed(data);
      guarded(() => requests.seen({ type, data }, audience, (one) => guarded(() => tellOne(one))));
    }
    if (type === "session.idle") turns.idle(data);
  };

  const tellReaders = (frame: Envelope, type: string, event: unknown): void => {
    const isChanged = eventTypesWithIds.has(type) || hasFoundersFields(type);
    const told = toldEvent(frame, isChanged ? () => options.shown(event) : undefined);
    if (told !== undefined) options.tellReaders(told);
  };

  /** An error has told its sender of the end already: the idle behind it is news to nobody who has asked again by then. */
  const comesLate = (connection: Connection, type: string): boolean =>
    connection.link.kind === "sdk" &&
    turns.current !== undefined &&
    (!turns.serves(connection) || (turns.failed && type !== "session.error"));

  /** A mistake over one event costs that event only. */
  const guarded = <T>(work: () => T): T | undefined => {
    try {
      return work();
    } catch (error) {
      options.onFailure(error);
      return undefined;
    }
  };

  const isCommitPoint = (type: string): boolean =>
    storeTurn !== undefined &&
    (turnEnds.has(type) || (type === "assistant.turn_end" && clock.monotonic() - storedAt >= stepMs));

  const hasArrived = (type: string): boolean => arrived.some(({ eventType }) => eventType === type);

  const idleOrGrace = async (): Promise<void> => {
    const { promise, resolve } = Promise.withResolvers<void>();
    idleCame = resolve;
    const cancel = clock.after(idleGraceMs, resolve);
    await promise.finally(cancel);
  };

  /** Passes on what has arrived, in order; ends and steps only when they are stored. What a runtime wrote together is stored together. */
  const drain = async (): Promise<void> => {
    while (arrived.length > 0) {
      await new Promise<void>((resolve) => setImmediate(resolve));
      if (hasArrived("assistant.idle") && !hasArrived("session.idle")) await idleOrGrace();
      const end = arrived.findIndex(({ eventType }) => eventType === "session.idle");
      const seen = arrived
        .splice(0, end < 0 ? arrived.length : end + 1)
        .flatMap((frame) => guarded(() => look(frame)) ?? []);
      const last = seen.at(-1);
      if (storeTurn !== undefined && seen.some(({ type }) => isCommitPoint(type))) {
        try {
          await storeTurn(last?.type === "session.idle" ? { data: last.data } : undefined);
          storedAt = clock.monotonic();
        } catch (error) {
          for (const one of seen) if (!turnEnds.has(one.type)) guarded(() => tell(one));
          guarded(() => options.onNotStored(error));
          continue;
        }
      }
      for (const one of seen) guarded(() => tell(one));
    }
    draining = undefined;
    guarded(options.onQuiet);
  };

  const pass = (frame: Envelope): void => {
    if (draining === undefined && !isCommitPoint(frame.eventType ?? "")) {
      guarded(() => tell(look(frame)));
      return;
    }
    arrived.push(frame);
    if (frame.eventType === "session.idle") idleCame();
    draining ??= drain();
  };

  /** An idle that overtook the error of its turn would let the sender's next message get that error. */
  const holdIdle = (frame: Envelope): void => {
    const turn = turns.current;
    const cancel = clock.after(errorGraceMs, () => releaseIdle?.());
    releaseIdle = () => {
      releaseIdle = undefined;
      cancel();
      // A turn that ended otherwise meanwhile has been told so; the idle is not the next one's.
      if (turns.current === turn) pass(frame);
    };
  };

  return {
    take(frame) {
      if (frame.eventType === "session.idle" && turns.owesError && !hasArrived("session.error"))
        return holdIdle(frame);
      if (frame.eventType !== "session.error") releaseIdle?.();
      pass(frame);
      releaseIdle?.();
    },
    get holding() {
      return draining !== undefined;
    },
    quiet: () => draining ?? Promise.resolve(),
  };
};
