import { lineOf } from "./turn-limits.ts";
import type { TurnPlace } from "./turn-places.ts";
import type { TurnRunnerOptions } from "./turn-vocabulary.ts";
import type { Sender } from "./vocabulary.ts";

/** The place among its tenant's running turns that a session has, or waits for: for what runs, else for what runs next. */
export interface TurnSeat {
  /** Has what would run next a place? Asks for one if not. Only while nothing runs. */
  held(): boolean;
  leave(): void;
}

export const createTurnSeat = (options: {
  readonly place: TurnRunnerOptions["place"];
  /** Whose turn would run next. */
  readonly next: () => Sender | undefined;
  readonly onHeld: () => void;
}): TurnSeat => {
  let seat: { readonly line: string; readonly place: TurnPlace } | undefined;

  const leave = (): void => {
    const left = seat;
    seat = undefined;
    left?.place.release();
  };

  return {
    held() {
      const sender = options.next();
      const line = sender && lineOf(sender);
      if (seat?.line !== line) leave();
      if (sender === undefined || line === undefined) return false;
      seat ??= { line, place: options.place(sender, options.onHeld) };
      return seat.place.held;
    },
    leave,
  };
};
