import { SquadronError } from "../kernel/errors.ts";
import type { Turn, TurnOutcome } from "./turn.ts";

/**
 * The turns of one session: one at a time, each line first in, first out, lines by turns. So one user's crowd of messages
 * lets another's through. (Start-time fair queueing with turns of equal cost.)
 */
export interface TurnQueue<Sender> {
  /** `first`: before all that wait, but for those that were added so. */
  add(turn: Turn<Sender>, first?: boolean): void;
  /** The turn that is submitting or running. */
  readonly current: Turn<Sender> | undefined;
  /** In the order in which they would run if nothing were added. */
  readonly waiting: readonly Turn<Sender>[];
  /** Makes the next waiting turn the current one, if none is current. */
  begin(): Turn<Sender> | undefined;
  /** Makes a turn that never waited the current one. */
  adopt(turn: Turn<Sender>): void;
  /** Ends the current turn, or one that waits. */
  end(turn: Turn<Sender>, outcome: TurnOutcome): void;
}

interface Place<Sender> {
  readonly turn: Turn<Sender>;
  readonly line: string;
  readonly round: number;
}

const beforeAll = -1;

/** `lineOf`: which line a sender's turns wait in. */
export const createTurnQueue = <Sender>(lineOf: (sender: Sender) => string): TurnQueue<Sender> => {
  let places: Place<Sender>[] = [];
  let current: Turn<Sender> | undefined;
  let round = 0;
  /** The last round in which a line has a turn, if that is not over. */
  const lastRounds = new Map<string, number>();

  const roundOf = (line: string): number => {
    const own = Math.max(round, (lastRounds.get(line) ?? beforeAll) + 1);
    lastRounds.set(line, own);
    return own;
  };

  const enterRound = (begun: number): void => {
    round = Math.max(round, begun);
    for (const [line, last] of lastRounds) if (last < round) lastRounds.delete(line);
  };

  return {
    get current() {
      return current;
    },
    get waiting() {
      return places.map(({ turn }) => turn);
    },
    add(turn, first = false) {
      const line = lineOf(turn.sender);
      const place = { turn, line, round: first ? beforeAll : roundOf(line) };
      const behind = places.findIndex((other) => other.round > place.round);
      places.splice(behind < 0 ? places.length : behind, 0, place);
    },
    begin() {
      if (current !== undefined) return undefined;
      const place = places.shift();
      if (place === undefined) return undefined;
      enterRound(place.round);
      current = place.turn;
      current.change({ kind: "submit" });
      return current;
    },
    adopt(turn) {
      if (current !== undefined) throw new SquadronError("internal", "Another turn is current.");
      current = turn;
    },
    end(turn, outcome) {
      if (current === turn) current = undefined;
      else places = places.filter((place) => place.turn !== turn);
      turn.change({ kind: "end", outcome });
    },
  };
};
