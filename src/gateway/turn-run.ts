import type { Turn, TurnOutcome } from "../sessions/turn.ts";
import type { TurnProgress } from "./turn-progress.ts";
import type { Sender } from "./vocabulary.ts";

/** A message that was delivered into the running turn. */
export interface Steered {
  readonly turn: Turn<Sender>;
  /** Has the turn taken it up? */
  seen: boolean;
}

/** A turn from its beginning to its end. */
export interface TurnRun {
  readonly turn: Turn<Sender>;
  readonly progress: TurnProgress;
  steered: readonly Steered[];
  /** Is its message on the way to the runtime? Before that, no idle can be this turn's. */
  submitted: boolean;
  /** Has the runtime been told to abort it? It takes up no further message then. */
  aborting: boolean;
  /** Its idle has come before its message was known to be taken. */
  idleSeen: boolean;
  /**
   * Resolves when the runtime has taken the message that it was given last, or the turn has ended. One is given after the
   * other: by its events a runtime tells which message is which only when one is on its way.
   */
  taken: PromiseWithResolvers<void>;
  cancelTimer: () => void;
}

/** Is a message of this run on its way to the runtime? */
export const isGiving = ({ turn, steered }: TurnRun): boolean =>
  [turn, ...steered.map((one) => one.turn)].some(({ state }) => state.kind === "submitting");

/** Does this idle end a turn? Autopilot is idle between its own steps. */
export const endsTurn = (data: unknown): boolean =>
  !(typeof data === "object" && data !== null && "mode" in data && data.mode === "autopilot");

/**
 * The messages that end with a run, were it to end so. One that came too late to be taken up by a turn that completes is
 * the runtime's next turn; with a turn that ends otherwise the runtime drops it.
 */
export const joinedTo = ({ steered }: TurnRun, end: TurnOutcome["kind"]): readonly Turn<Sender>[] =>
  steered.filter(({ seen }) => seen || end !== "completed").map(({ turn }) => turn);
