import type { Turn, TurnOutcome } from "../sessions/turn.ts";
import { servedBy, type TurnRun } from "./turn-run.ts";
import type { TurnRunner } from "./turn-vocabulary.ts";
import type { Sender } from "./vocabulary.ts";

/** Looks at what a session has not ended yet: which turns there are, and who asks with them. */
export type OpenTurns = Pick<TurnRunner, "find" | "serves" | "waits" | "asks" | "toRun">;

export const createOpenTurns = (session: {
  readonly run: () => TurnRun | undefined;
  readonly waiting: () => readonly Turn<Sender>[];
  /** Messages that are in no turn yet. */
  readonly arriving: ReadonlySet<Turn<Sender>>;
}): OpenTurns => {
  const served = (end?: TurnOutcome["kind"]): readonly Turn<Sender>[] => {
    const run = session.run();
    return run === undefined ? [] : servedBy(run, end ?? run.progress.outcome().kind);
  };

  /** In a turn, or in the queue. */
  const taken = (): readonly Turn<Sender>[] => {
    const run = session.run();
    const waiting = session.waiting();
    return run === undefined ? waiting : [run.turn, ...run.steered.map(({ turn }) => turn), ...waiting];
  };

  const asking = (): readonly Turn<Sender>[] =>
    [...taken(), ...session.arriving].filter(({ state }) => state.kind !== "ended");

  return {
    find: (id) => taken().find((turn) => turn.id === id || turn.runtimeMessageId === id),
    serves: (sender, end) => served(end).some((turn) => turn.sender === sender),
    waits(sender, end) {
      const ends = served(end);
      return asking().some((turn) => turn.sender === sender && !ends.includes(turn));
    },
    asks: (sender) => asking().some((turn) => turn.sender === sender),
    get toRun() {
      return asking().filter(({ state }) => state.kind !== "running");
    },
  };
};
