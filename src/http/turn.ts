import type { Connection, Sending } from "../gateway/vocabulary.ts";
import { SquadronError } from "../kernel/errors.ts";
import type { Usage } from "../sessions/turn.ts";
import { type SessionEvent, unlessAborted } from "./connection.ts";
import type { FollowedTurn } from "./followed-turn.ts";
import { knownError } from "./problem.ts";

/** A turn that was answered. */
export interface TurnAnswer {
  readonly turnId: string;
  readonly content: string;
  readonly usage: Usage;
}

/** Waits for the end of a turn. Rejects with the error that its outcome is, or with the signal's reason; the turn goes on then. */
export const answerTo = async (turn: FollowedTurn, signal: AbortSignal): Promise<TurnAnswer> => {
  const turnId = turn.id;
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
  send(
    connection: Connection,
    message: Readonly<Record<string, unknown>>,
    how?: Omit<Sending, "answer" | "onTurn">,
  ): Promise<FollowedTurn>;
  /** The same for a turn that an earlier request has asked for, from now on. */
  follow(turn: FollowedTurn): FollowedTurn;
}

export const createTurnEvents = (options: {
  readonly answer: Sending["answer"];
  readonly onSent: (turnId: string) => void;
  readonly onEvent: (event: SessionEvent) => void;
}): TurnEvents => {
  let turn: FollowedTurn | undefined;
  /** Events of the turn that came before it was known to be taken. */
  let early: SessionEvent[] | undefined = [];
  return {
    take(event) {
      const kind = turn?.state?.kind;
      if (kind !== "submitting" && kind !== "running") return;
      if (early === undefined) options.onEvent(event);
      else early.push(event);
    },
    async send(connection, message, how) {
      const sent = await connection.send(message, {
        ...how,
        answer: how?.key === undefined ? options.answer : "stored",
        onTurn: (made) => (turn = made),
      });
      options.onSent(sent.turn.id);
      early?.forEach(options.onEvent);
      early = undefined;
      return sent.turn;
    },
    follow(followed) {
      turn = followed;
      early = undefined;
      options.onSent(followed.id);
      return followed;
    },
  };
};
