import { SquadronError } from "../kernel/errors.ts";
import type { SentMessage } from "./vocabulary.ts";

/**
 * Resolves when the turn is over, for a message that may have crossed the end of an earlier one on its way here. The SDK
 * takes that end for the message's own, and looks for the answer as soon as it has the message's id: it is given the id
 * when the answer is there, and an error if there is none.
 */
export const answered = async ({ turn }: SentMessage): Promise<void> => {
  const outcome = await turn.ended;
  switch (outcome.kind) {
    case "completed":
      return;
    case "aborted":
      throw new SquadronError("turn_aborted", "The turn was aborted.");
    case "failed":
      throw new SquadronError(outcome.reason === "timeout" ? "turn_timeout" : "turn_failed", outcome.message);
    case "interrupted":
      throw new SquadronError("turn_interrupted", outcome.message);
    case "refused":
      throw outcome.error;
  }
};
