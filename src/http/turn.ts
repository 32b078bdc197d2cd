import type { Connection, SentMessage } from "../gateway/vocabulary.ts";
import { SquadronError } from "../kernel/errors.ts";
import type { Turn, Usage } from "../sessions/turn-queue.ts";
import { type SessionEvent, unlessAborted } from "./connection.ts";
import { knownError } from "./problem.ts";

/** A turn that was answered. */
export interface TurnAnswer {
  readonly turnId: string;
  readonly content: string;
  readonly usage: Usage;
}

/** Waits for the end of a turn. Rejects with the error that its outcome is, or with the signal's reason; the turn goes on then. */
export const answerTo = async (
  { messageId: turnId, turn }: SentMessage,
  signal: AbortSignal,
): Promise<TurnAnswer> => {
  const details = { turnId };
  const outcome = await unlessAborted(turn.ended, signal);
  switch (outcome.kind) {
    case "completed":
      return { turnId, content: outcome.content, usage: outcome.usage };
    case "failed":
      throw new SquadronError(
        outcome.reason === "timeout" ? "turn_timeout" : "turn_failed",
        outcome.message,
        { details },
      );
    case "aborted":
      throw new SquadronError("turn_aborted", "The turn was aborted.", { details });
    case "interrupted":
      throw new SquadronError("turn_interrupted", outcome.message, { details });
    case "refused": {
      const error = knownError(outcome.error);
      throw new SquadronError(error.code, error.message, {
        details: { ...error.details, ...details },
        cause: error,
      });
    }
  }
};

/** Picks the events of one's own turn out of all events of its session. */
export interface TurnEvents {
  take(event: SessionEvent): void;
  /** Sends the message; `onEvent` gets the events of its turn and of no other, from its begin to its end. */
  send(connection: Connection, message: Readonly<Record<string, unknown>>): Promise<SentMessage>;
}

type Stage =
  | { readonly kind: "idle" }
  /** Few events come between a runtime's taking a message and its saying so; whose they are shows only then. */
  | { readonly kind: "sending"; readonly early: SessionEvent[] }
  | { readonly kind: "sent"; readonly turn: Turn<Connection> };

export const createTurnEvents = (options: {
  readonly onSent: (turnId: string) => void;
  readonly onEvent: (event: SessionEvent) => void;
}): TurnEvents => {
  let stage: Stage = { kind: "idle" };
  return {
    take(event) {
      if (stage.kind === "sending") stage.early.push(event);
      if (stage.kind !== "sent") return;
      const { kind } = stage.turn.state;
      if (kind === "submitting" || kind === "running") options.onEvent(event);
    },
    async send(connection, message) {
      const early: SessionEvent[] = [];
      stage = { kind: "sending", early };
      const sent = await connection.send(message);
      stage = { kind: "sent", turn: sent.turn };
      options.onSent(sent.messageId);
      if (sent.turn.state.kind !== "queued") early.forEach(options.onEvent);
      return sent;
    },
  };
};
