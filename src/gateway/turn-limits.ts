import { SquadronError } from "../kernel/errors.ts";
import type { Turn } from "../sessions/turn.ts";
import type { TurnRun } from "./turn-run.ts";
import type { Sender } from "./vocabulary.ts";

/** Turns of one user wait in one line, whatever connections they come from. */
export const lineOf = ({ principal }: Sender): string => JSON.stringify([principal.tenant, principal.user]);

const assertRoom = (taken: number, limit: number, full: string): void => {
  if (taken >= limit) throw new SquadronError("queue_full", full, { details: { limit } });
};

/** Throws `queue_full`. Nobody who fills the queue keeps those out who have nothing in it. */
export const assertMayWait = (waiting: readonly Turn<Sender>[], sender: Sender, limit: number): void => {
  if (!waiting.some((turn) => lineOf(turn.sender) === lineOf(sender))) return;
  assertRoom(
    waiting.length,
    limit,
    `${waiting.length} messages already wait in this session; try again when one has been answered.`,
  );
};

/** Throws `queue_full` if no more messages may be delivered into this run. */
export const assertMayJoin = ({ steered: { length } }: TurnRun, limit: number): void =>
  assertRoom(length, limit, `${length} messages were already delivered into this turn; wait for its end.`);
