import type { Clock } from "../kernel/clock.ts";
import type { OpenRequest, RequestEnd } from "./request-vocabulary.ts";
import { ownEvent, type ToldEvent } from "./told-event.ts";

const isoTime = (ms: number): string => new Date(ms).toISOString();

/** What readers of a session's stream hear of what it asks people: `request.opened`, `request.settled`. */
export const requestsTold = (options: {
  readonly clock: Clock;
  readonly tell: (event: ToldEvent) => void;
}): {
  readonly opened: (request: OpenRequest) => void;
  readonly ended: (request: OpenRequest, end: RequestEnd) => void;
} => {
  const { clock, tell } = options;
  return {
    opened({ id, kind, turn, expiresAt, detail }) {
      if (kind === undefined) return;
      const asked = { turnId: turn?.id ?? null, for: turn?.sender.principal.user ?? null };
      const more = { ...asked, expiresAt: isoTime(expiresAt), detail };
      tell(ownEvent(clock, "request.opened", { requestId: id, kind, ...more }));
    },
    ended({ id, kind }, end) {
      if (kind === undefined) return;
      const by = end.outcome === "answered" ? end.by.user : null;
      tell(ownEvent(clock, "request.settled", { requestId: id, kind, by, outcome: end.outcome }));
    },
  };
};
