import { createHash } from "node:crypto";
import { startOfHistory } from "../sessions/stored-events.ts";

/**
 * A place in a session's stream. `told` is the last event of the history before it, `kept` the last one that was stored
 * when it was told: if `told` has been lost with a runtime, the history goes on after `kept`.
 */
export interface EventPosition {
  readonly told: string;
  readonly kept: string;
  /**
   * The place among all that one log has told, which only that log knows, and in which `order` the events after `kept`
   * were told: they may be stored in another.
   */
  readonly live?: { readonly log: string; readonly at: number; readonly order: string };
}

/** Of no events. */
export const noOrder = "0";

/** What stands for these events in this order, when one more has come. */
export const nextOrder = (order: string, id: string): string =>
  createHash("sha256").update(`${order} ${id}`).digest("base64url").slice(0, 8);

/** What runtimes call their events. One with another id is told like an ephemeral one. */
export const isEventId = (id: string | undefined): id is string =>
  id !== undefined && /^[\w-]{1,100}$/.test(id) && id !== startOfHistory;

export const formatPosition = ({ told, kept, live }: EventPosition): string =>
  live === undefined ? told : `${told}.${kept}.${live.log}.${live.at}.${live.order}`;

const form = /^([\w-]{1,100})(?:\.([\w-]{1,100})\.([\w-]{1,40})\.(\d{1,15})(?:\.([\w-]{1,8}))?)?$/;

/** The place that an id of a stream's event names, or the id of an event of the history; undefined for what is neither. */
export const parsePosition = (text: string): EventPosition | undefined => {
  const [, told, kept = told, log, at, order = noOrder] = form.exec(text) ?? [];
  if (told === undefined || kept === undefined) return undefined;
  return log === undefined ? { told, kept } : { told, kept, live: { log, at: Number(at), order } };
};
