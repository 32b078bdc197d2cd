import type { Clock } from "../kernel/clock.ts";
import { isObject } from "../kernel/json.ts";
import type { Envelope } from "../wire/envelope.ts";
import { type Audience, askedBy, receivers, turnEnds } from "./delivery.ts";
import { eventTypesWithIds, rewriteEvent } from "./event-ids.ts";
import type { HeldEnds } from "./held-ends.ts";
import type { HostTurns } from "./host-turns.ts";
import { type OpenRequests, requestEventTypes, requestKinds } from "./open-requests.ts";
import type { Attachment, Connection } from "./vocabulary.ts";

/** Event types that the host must understand; all others pass with only the session id replaced. */
const understood: ReadonlySet<string> = new Set([
  ...eventTypesWithIds,
  ...requestEventTypes,
  ...turnEnds,
  "assistant.message_start",
  "assistant.usage",
  "model.turn_failed",
  "session.model_change",
  "session.resume",
  "session.title_changed",
]);

/** How long an idle waits for the error of its turn. A runtime tells both at once, but not always in this order. */
const errorGraceMs = 500;

/** Takes in the events of one session from its runtime and fans them out to its attachments. */
export const createEventIntake = (options: {
  readonly session: string;
  readonly attachments: readonly Attachment[];
  readonly turns: HostTurns;
  readonly openRequests: OpenRequests;
  readonly heldEnds: HeldEnds;
  readonly clientMessageId: (runtimeMessageId: string) => string | undefined;
  readonly onEvent: (type: string, data: unknown) => void;
  readonly clock: Clock;
}): ((frame: Envelope) => void) => {
  const { session, attachments, turns, openRequests, heldEnds, clock } = options;
  let releaseIdle: (() => void) | undefined;

  const take = (frame: Envelope): void => {
    const type = frame.eventType ?? "";
    if (type === "user.message") heldEnds.release();
    const sender = turns.current?.sender;
    const audience: Audience = {
      attachments,
      sender,
      waits: (connection) => turns.waits(connection),
    };
    if (!understood.has(type)) {
      for (const { connection, name } of receivers(audience, type, undefined)) {
        connection.link.sendRaw(frame.withSessionId(name));
      }
      return;
    }
    const params = frame.params();
    const event = isObject(params) ? params.event : undefined;
    const data = isObject(event) ? event.data : undefined;
    turns.observe(type, data);
    options.onEvent(type, data);
    const to = receivers(audience, type, data);
    if (requestKinds[type] !== undefined) openRequests.opened(type, data, askedBy(audience, type, data));
    else if (requestEventTypes.has(type)) openRequests.closed(data);
    for (const attachment of to) {
      const { connection, name } = attachment;
      if (eventTypesWithIds.has(type)) {
        const shown = rewriteEvent(
          event,
          (id) => (id === session ? name : undefined),
          options.clientMessageId,
        );
        connection.link.notify("session.event", { ...(params as object), sessionId: name, event: shown });
      } else if (turnEnds.has(type) && comesLate(connection, sender, type)) {
        heldEnds.hold(attachment, () => connection.link.sendRaw(frame.withSessionId(name)));
      } else connection.link.sendRaw(frame.withSessionId(name));
    }
    if (type === "session.idle") turns.idle(data);
  };

  /** An error has told its sender of the end already: the idle behind it is news to nobody who has asked again by then. */
  const comesLate = (connection: Connection, sender: Connection | undefined, type: string): boolean =>
    connection.link.kind === "sdk" &&
    sender !== undefined &&
    (connection !== sender || (turns.failed && type !== "session.error"));

  /** An idle that overtook the error of its turn would let the sender's next message get that error. */
  const holdIdle = (frame: Envelope): void => {
    const turn = turns.current;
    const cancel = clock.after(errorGraceMs, () => releaseIdle?.());
    releaseIdle = () => {
      releaseIdle = undefined;
      cancel();
      // A turn that ended otherwise meanwhile has been told so; the idle is not the next one's.
      if (turns.current === turn) take(frame);
    };
  };

  return (frame) => {
    if (frame.eventType === "session.idle" && turns.owesError) return holdIdle(frame);
    if (frame.eventType !== "session.error") releaseIdle?.();
    take(frame);
    releaseIdle?.();
  };
};
