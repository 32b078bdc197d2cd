import { SquadronError } from "../kernel/errors.ts";
import type { Turn, TurnOutcome } from "../sessions/turn.ts";
import type { TurnRunnerOptions } from "./turn-vocabulary.ts";
import type { Sender } from "./vocabulary.ts";

/** What clients are told when a runtime dies over a turn. */
export const runtimeGone =
  "The runtime that was answering has gone; the turn was interrupted. Send the message again if you want it answered.";

/** Senders who are answered with the runtime's id of their message. All others have an id of ours already. */
export interface Acceptances {
  /** The runtime's id, when it is known. */
  wait(turn: Turn<Sender>): Promise<string>;
  accepted(turn: Turn<Sender>, runtimeMessageId: string): void;
  /** Rejects the answer of whoever still waits for it. */
  reject(turn: Turn<Sender>, error: unknown): void;
  /** Tells whoever asked that the runtime has not got the message. */
  refuse(turn: Turn<Sender>, error: unknown): void;
  /** The same, for what the runtime answered when it was given the message. Returns how the turn ends by that. */
  notTaken(turn: Turn<Sender>, error: unknown): TurnOutcome;
}

export const createAcceptances = ({
  onNamed,
  onRefused,
}: Pick<TurnRunnerOptions, "onNamed" | "onRefused">): Acceptances => {
  const waiting = new Map<Turn<Sender>, PromiseWithResolvers<string>>();

  const take = (turn: Turn<Sender>): PromiseWithResolvers<string> | undefined => {
    const found = waiting.get(turn);
    waiting.delete(turn);
    return found;
  };

  const refuse = (turn: Turn<Sender>, error: unknown): void => {
    const acceptance = take(turn);
    if (acceptance === undefined) onRefused(turn, error);
    else acceptance.reject(error);
  };

  return {
    wait(turn) {
      const acceptance = Promise.withResolvers<string>();
      waiting.set(turn, acceptance);
      return acceptance.promise;
    },
    accepted(turn, runtimeMessageId) {
      const acceptance = take(turn);
      onNamed(turn, runtimeMessageId, acceptance === undefined ? turn.id : runtimeMessageId);
      acceptance?.resolve(runtimeMessageId);
    },
    reject: (turn, error) => take(turn)?.reject(error),
    refuse,
    notTaken(turn, error) {
      // What a runtime had got when it died may have had effects.
      const gone = error instanceof SquadronError && error.code === "connection_closed";
      const told = gone ? new SquadronError("runtime_gone", runtimeGone, { cause: error }) : error;
      refuse(turn, told);
      return gone ? { kind: "interrupted", message: runtimeGone } : { kind: "refused", error: told };
    },
  };
};
