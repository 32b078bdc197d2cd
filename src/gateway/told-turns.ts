import type { Clock } from "../kernel/clock.ts";
import type { JsonObject } from "../kernel/json.ts";
import type { Turn } from "../sessions/turn.ts";
import type { TurnEnd } from "../store/store.ts";
import { ownEvent, type ToldEvent } from "./told-event.ts";
import type { TurnRows } from "./turn-rows.ts";
import type { TurnEnding } from "./turn-vocabulary.ts";
import type { Sender } from "./vocabulary.ts";

/** What has never begun has failed, as its reason says. */
const stateOf = ({ state }: TurnEnd): string => (state === "refused" ? "failed" : state);

/** Turn rows that the readers of the session's stream hear of: `turn.queued`, `turn.running`, and how each has ended. */
export const withTurnsTold = (
  rows: TurnRows,
  options: {
    readonly clock: Clock;
    readonly tell: (event: ToldEvent) => void;
    /** Those that wait, in the order in which they would run. */
    readonly waiting: () => readonly Turn<Sender>[];
  },
): TurnRows => {
  const { clock, tell } = options;
  const told = new WeakMap<Turn<Sender>, "queued" | "running">();

  const say = (turn: Turn<Sender>, state: string, more: JsonObject = {}): void => {
    tell(ownEvent(clock, `turn.${state}`, { turnId: turn.id, by: turn.sender.principal.user, ...more }));
  };

  const reached = (turn: Turn<Sender>, state: "queued" | "running", more?: JsonObject): void => {
    if (told.get(turn) === state) return;
    told.set(turn, state);
    say(turn, state, more);
  };

  const over = (ending: TurnEnding): void => {
    const turns = [ending.turn, ...ending.joined].filter((turn) => told.delete(turn));
    if (turns.length === 0) return;
    const ends = new Map(rows.endsOf(ending).map((end) => [end.id, end]));
    for (const turn of turns) {
      const end = ends.get(turn.id);
      if (end !== undefined) say(turn, stateOf(end), { reason: end.reason, joined: end.joined });
    }
  };

  return {
    ...rows,
    async accepted(turn) {
      await rows.accepted(turn);
      if (turn.state.kind === "queued")
        reached(turn, "queued", { place: options.waiting().indexOf(turn) + 1 });
    },
    async begun(turn) {
      await rows.begun(turn);
      if (turn.state.kind !== "ended") reached(turn, "running");
    },
    ended(ending) {
      const noted = rows.ended(ending);
      over(ending);
      return noted;
    },
  };
};
