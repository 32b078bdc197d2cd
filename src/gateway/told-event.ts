import type { Clock } from "../kernel/clock.ts";
import type { JsonObject } from "../kernel/json.ts";
import { untold } from "../sessions/stored-events.ts";
import type { Envelope } from "../wire/envelope.ts";
import { isEventId } from "./event-position.ts";

/** An event as the log of its session takes it. */
export interface ToldEvent {
  readonly type: string;
  /** Of one that counts in the history. */
  readonly id?: string;
  readonly data: () => Buffer;
}

const hasLineEnd = (bytes: Buffer): boolean => bytes.includes(0x0a) || bytes.includes(0x0d);

/** JSON needs no line ends, and an event stream takes them for the end of what is said. The frame is not held on to. */
const onOneLine = (bytes: Buffer): Buffer =>
  hasLineEnd(bytes) ? Buffer.from(JSON.stringify(JSON.parse(bytes.toString()))) : Buffer.from(bytes);

/** What the readers of a session are told with this frame; undefined for what is none of their business. */
export const toldEvent = (frame: Envelope, shown: (() => unknown) | undefined): ToldEvent | undefined => {
  const { eventType: type, eventId } = frame;
  const bytes = frame.eventBytes();
  if (type === undefined || bytes === undefined || untold.has(type)) return undefined;
  return {
    type,
    ...(!frame.ephemeral && isEventId(eventId) && { id: eventId }),
    data: () => (shown === undefined ? onOneLine(bytes) : Buffer.from(JSON.stringify(shown()))),
  };
};

/** What the node itself tells the readers of a session; the history does not have it. */
export const ownEvent = (clock: Pick<Clock, "now">, type: string, data: JsonObject): ToldEvent => {
  const event = { type, timestamp: new Date(clock.now()).toISOString(), ephemeral: true, data };
  return { type, data: () => Buffer.from(JSON.stringify(event)) };
};
