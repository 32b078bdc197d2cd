import type { Policy } from "../config/config.ts";
import { SquadronError } from "../kernel/errors.ts";
import { isObject, type JsonObject } from "../kernel/json.ts";
import type { Turn } from "../sessions/turn.ts";
import type { SessionRole, SessionRow } from "../store/store.ts";
import type { Envelope } from "../wire/envelope.ts";
import { mayAnswer } from "./answer-right.ts";
import type { Audience } from "./delivery.ts";
import { createEventRequests } from "./event-requests.ts";
import { createHostCallbacks } from "./host-callbacks.ts";
import type { HostServices } from "./host-services.ts";
import { createOpenRequests, type OpenRequests } from "./open-requests.ts";
import { completions, requestKinds } from "./request-kinds.ts";
import type { SessionRequests, User } from "./request-vocabulary.ts";
import type { ToldEvent } from "./told-event.ts";
import { requestsTold } from "./told-requests.ts";
import { createUserInputs } from "./user-inputs.ts";
import type { Attachment, Sender } from "./vocabulary.ts";

/** What the runtime of a session asks, who is asked, and who may answer. */
export interface HostRequests {
  readonly open: OpenRequests;
  /** As those see it who answer. */
  readonly shown: SessionRequests;
  /** Which clients belong to those who answer what is asked in a turn of this sender? */
  answersFor(sender: Sender | undefined): Audience["answers"];
  /** Takes in an event of those of `requestEventTypes`; `show` tells one client of it once more. */
  seen(
    event: { readonly type: string; readonly data: unknown },
    audience: Audience,
    show: (attachment: Attachment) => void,
  ): void;
  callback(method: string, params: Record<string, unknown>): Promise<unknown>;
}

export const createHostRequests = (options: {
  readonly services: Pick<HostServices, "clock" | "log" | "metrics">;
  readonly row: SessionRow;
  readonly policy: Policy;
  readonly attachments: readonly Attachment[];
  readonly turn: () => Turn<Sender> | undefined;
  /** Undefined: it takes no part in the session. */
  readonly roleOf: (who: User) => SessionRole | undefined;
  readonly recordWriter: () => Attachment | undefined;
  /** Is it the policy's alone to answer that one? */
  readonly ofPolicy: (requestId: unknown) => boolean;
  /** Do its questions wait for people who answer over HTTP? */
  readonly asksPeople: () => boolean;
  readonly call: (method: string, params: JsonObject) => Promise<Envelope>;
  readonly tellReaders: (event: ToldEvent) => void;
}): HostRequests => {
  const { services, row, attachments, roleOf } = options;
  const { clock, log, metrics } = services;
  const timeoutMs = options.policy.limits.callbackTimeoutMs;
  const told = requestsTold({ clock, tell: options.tellReaders });

  const open = createOpenRequests({
    clock,
    deadlineMs: timeoutMs,
    onOpened: told.opened,
    onEnded: told.ended,
    onTooMany: () => log.warn({ session: row.id }, "a session asks too much at once"),
  });

  const answersFor: HostRequests["answersFor"] =
    (sender) =>
    ({ connection }) =>
      mayAnswer(sender?.principal, connection.principal, roleOf(connection.principal));

  const events = createEventRequests({
    requests: open,
    session: row.id,
    publicId: row.publicId,
    turn: options.turn,
    asksPeople: options.asksPeople,
    call: options.call,
    onExpired: () => metrics.callback("timeout"),
    onFailure: (method, error) =>
      log.warn({ session: row.id, method, error }, "a default answer was not taken"),
  });

  const userInputs = createUserInputs(open);

  const ask = createHostCallbacks({
    requests: open,
    userInputs,
    publicId: row.publicId,
    asksPeople: options.asksPeople,
    timeoutMs,
    log,
    metrics,
  });

  const mayNow: SessionRequests["mayAnswer"] = (request, who) =>
    mayAnswer(request?.turn?.sender.principal, who, roleOf(who));

  return {
    open,
    shown: {
      get list() {
        return open.list;
      },
      find: open.find,
      hasEnded: open.hasEnded,
      takesFrom: open.takesFrom,
      answer: (id, by, give) =>
        open.answer(id, by, async () => {
          // It may have waited for another's answer.
          if (mayNow(open.find(id), by)) return give();
          throw new SquadronError("forbidden", "You may not answer this any more.");
        }),
      ofPolicy: options.ofPolicy,
      mayAnswer: mayNow,
    },
    answersFor,
    seen(event, audience, show) {
      const { type, data } = event;
      userInputs.seen(type, data);
      if (requestKinds[type] !== undefined) events(event, audience, show);
      else if (completions.has(type) && isObject(data)) open.closed(data.requestId);
    },
    callback(method, params) {
      const turn = options.turn();
      const audience = { attachments, sender: turn?.sender, answers: answersFor(turn?.sender) };
      return ask({ method, params, audience, turn, recordWriter: options.recordWriter() });
    },
  };
};
