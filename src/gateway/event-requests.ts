import { isObject, type Json, type JsonObject } from "../kernel/json.ts";
import type { Turn } from "../sessions/turn.ts";
import type { Envelope } from "../wire/envelope.ts";
import { type Audience, askedBy } from "./delivery.ts";
import { rewriteEvent } from "./event-ids.ts";
import type { OpenRequests } from "./open-requests.ts";
import { answerParameters } from "./request-answers.ts";
import { boundedDetail } from "./request-detail.ts";
import { requestKinds } from "./request-kinds.ts";
import { forEverybody } from "./shown-event.ts";
import type { Attachment, Sender } from "./vocabulary.ts";

/** Has the runtime taken an answer as the one to its question? */
export const wasTaken = (answer: Envelope): boolean => {
  const result = answer.result();
  return !(isObject(result) && result.success === false);
};

/** Takes in a question that a runtime asks as an event, as it is told. `show`: tells one client of it once more. */
export type SeeRequest = (
  event: { readonly type: string; readonly data: unknown },
  audience: Audience,
  show: (attachment: Attachment) => void,
) => void;

export const createEventRequests = (options: {
  readonly requests: Pick<OpenRequests, "add" | "giveUp">;
  readonly session: string;
  readonly publicId: string;
  readonly turn: () => Turn<Sender> | undefined;
  readonly call: (method: string, params: JsonObject) => Promise<Envelope>;
  /** Do the session's questions wait for people who answer over HTTP? */
  readonly asksPeople: () => boolean;
  /** Nobody answered in time. */
  readonly onExpired: () => void;
  /** A default answer was not taken. */
  readonly onFailure: (method: string, error: unknown) => void;
}): SeeRequest => {
  const { requests, session, publicId, call } = options;

  const detailOf = (type: string, data: unknown): Json => {
    const ids = (id: string): string | undefined => (id === session ? publicId : undefined);
    const shown = rewriteEvent(forEverybody({ type, data }), ids, () => undefined);
    return boundedDetail(isObject(shown) ? shown.data : undefined);
  };

  return ({ type, data }, audience, show) => {
    const kind = requestKinds[type];
    if (kind === undefined || !isObject(data) || typeof data.requestId !== "string") return;
    if (data.resolvedByHook === true) return;
    const id = data.requestId;
    const choose = (): Attachment | undefined => askedBy(audience, type, data);
    const asked = choose();
    requests.add(
      {
        id,
        kind: kind.personal,
        turn: options.turn(),
        detail: detailOf(type, data),
        othersMayAnswer: kind.othersMayAnswer,
        ask() {
          const next = choose();
          if (next !== undefined) show(next);
          return next;
        },
        give: async (answer) =>
          wasTaken(await call(kind.method, { requestId: id, ...answerParameters(answer) })),
        ended({ outcome }) {
          if (outcome !== "timeout") return;
          options.onExpired();
          call(kind.method, { requestId: id, ...kind.unanswered }).catch((error) =>
            options.onFailure(kind.method, error),
          );
        },
      },
      asked,
    );
    // It is asked for a client alone that may not answer it: without that one it would have been denied at once.
    const isInVain = (): boolean =>
      !options.asksPeople() &&
      audience.attachments.some((one) => kind.answerable(one, data) && !audience.answers(one));
    if (asked === undefined && isInVain()) requests.giveUp(id);
  };
};
