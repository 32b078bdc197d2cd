import { SquadronError } from "../kernel/errors.ts";
import { newId } from "../kernel/ids.ts";
import type { Turn } from "../sessions/turn.ts";
import type { Log } from "../telemetry/log.ts";
import type { Metrics } from "../telemetry/metrics.ts";
import { methodEntry } from "../wire/method-table.ts";
import { RpcError } from "../wire/rpc-error.ts";
import { type CallbackKind, callbackKinds, canAnswer } from "./callbacks.ts";
import { type Audience, chooseFor } from "./delivery.ts";
import { withIds } from "./ids.ts";
import type { OpenRequests } from "./open-requests.ts";
import { boundedDetail } from "./request-detail.ts";
import type { UserInputs } from "./user-inputs.ts";
import type { Attachment, Sender } from "./vocabulary.ts";

/** A question that a runtime asks as a request on its pipe. */
export interface Callback {
  readonly method: string;
  readonly params: Record<string, unknown>;
  readonly audience: Pick<Audience, "attachments" | "sender" | "answers">;
  readonly turn: Turn<Sender> | undefined;
  readonly recordWriter: Attachment | undefined;
}

const isOver = (error: unknown): boolean => error instanceof SquadronError && error.code === "cancelled";

/**
 * Passes a question of the runtime to the one client that answers it, with a deadline. When nobody can be
 * asked or answers in time, the documented default answers; where there is none, the runtime gets an error. A client's
 * own error is its answer. What a person can be asked goes to the next client when the one that is asked has gone.
 */
export const createHostCallbacks = (options: {
  readonly requests: OpenRequests;
  readonly userInputs: UserInputs;
  readonly publicId: string;
  /** Do the session's questions wait for people who answer over HTTP? */
  readonly asksPeople: () => boolean;
  readonly timeoutMs: number;
  readonly log: Log;
  readonly metrics: Metrics;
}): ((callback: Callback) => Promise<unknown>) => {
  const { requests, log, metrics, timeoutMs } = options;

  const put = (
    { method, params }: Callback,
    asked: Attachment,
    how: { readonly timeoutMs?: number; readonly signal?: AbortSignal },
  ): Promise<unknown> => {
    let shown: unknown = params;
    for (const path of methodEntry(method)?.ids.params ?? [])
      shown = withIds(shown, path, (id) => (id === params.sessionId ? asked.name : undefined));
    return asked.connection.link.request(method, shown, how);
  };

  const unanswered = ({ method, params }: Callback, kind: CallbackKind): unknown => {
    const answer = kind.defaultAnswer(params);
    if (answer === undefined)
      throw new SquadronError("timeout", `No client of this session answered ${method}.`);
    return answer;
  };

  const notAnswered = ({ method, params }: Callback, { connection }: Attachment, error: unknown): void =>
    log.info(
      { session: params.sessionId, connection: connection.id, method, error },
      "a client did not answer a callback",
    );

  const askProgram = async (callback: Callback, kind: CallbackKind): Promise<unknown> => {
    const asked = chooseFor(callback.audience, (one) => canAnswer(kind, one, callback.recordWriter));
    if (asked !== undefined) {
      try {
        const answer = await put(callback, asked, { timeoutMs });
        metrics.callback("answered");
        return answer;
      } catch (error) {
        if (error instanceof RpcError) throw error;
        notAnswered(callback, asked, error);
      }
    }
    metrics.callback(asked === undefined ? "unhandled" : "timeout");
    return unanswered(callback, kind);
  };

  const askPerson = async (callback: Callback, kind: CallbackKind): Promise<unknown> => {
    const { audience, turn, params, recordWriter } = callback;
    const personal = kind.asksPerson?.kind;
    const id = (personal && options.userInputs.asked(params)) ?? newId("ask");
    const waits = personal !== undefined && options.asksPeople();
    const { promise, resolve, reject } = Promise.withResolvers<unknown>();
    const over = new AbortController();
    const tried = new Set<Attachment>();

    const answerBy = (asked: Attachment, give: () => void): void => {
      // Its user may have become a reader, or have been removed, since it was asked.
      if (!audience.answers(asked)) return;
      const taken = async (): Promise<boolean> => {
        give();
        return true;
      };
      requests.answer(id, asked.connection.principal, taken).catch(reject);
    };

    const ask = (): Attachment | undefined => {
      const able = (one: Attachment): boolean =>
        !tried.has(one) && one.connection.open && canAnswer(kind, one, recordWriter);
      const asked = chooseFor(audience, able);
      if (asked === undefined) return undefined;
      tried.add(asked);
      put(callback, asked, { signal: over.signal }).then(
        (answer) => answerBy(asked, () => resolve(answer)),
        (error) => {
          if (isOver(error)) return;
          if (error instanceof RpcError) return answerBy(asked, () => reject(error));
          notAnswered(callback, asked, error);
          requests.left(asked);
        },
      );
      return asked;
    };

    const asked = ask();
    if (asked === undefined && !waits) {
      metrics.callback("unhandled");
      return unanswered(callback, kind);
    }
    requests.add(
      {
        id,
        kind: personal,
        turn,
        detail: boundedDetail({ ...params, sessionId: options.publicId }),
        othersMayAnswer: false,
        ask() {
          const next = ask();
          if (next === undefined && !waits) requests.giveUp(id);
          return next;
        },
        async give(answer) {
          if (answer.kind !== "user_input") return false;
          const choices = Array.isArray(params.choices) ? params.choices : [];
          resolve({ answer: answer.answer, wasFreeform: !choices.includes(answer.answer) });
          return true;
        },
        ended({ outcome }) {
          if (outcome !== "withdrawn") metrics.callback(outcome);
          // Whoever has answered it in another way, or has ended its turn: the runtime waits for this one no more.
          resolve(kind.defaultAnswer(params));
          over.abort();
        },
      },
      asked,
    );
    // The runtime says nothing of a question whose turn it has aborted.
    void turn?.ended.then(({ kind: how }) => {
      if (how !== "completed") requests.withdraw((request) => request.id === id);
    });
    return promise;
  };

  return async (callback) => {
    const kind = callbackKinds[callback.method];
    if (kind === undefined)
      throw new SquadronError("method_unknown", `Squadron does not pass on ${callback.method}.`);
    return kind.asksPerson === undefined ? askProgram(callback, kind) : askPerson(callback, kind);
  };
};
