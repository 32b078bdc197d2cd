import { SquadronError } from "../kernel/errors.ts";
import type { Turn, TurnOutcome } from "../sessions/turn.ts";
import type { TurnQueue } from "../sessions/turn-queue.ts";
import type { Acceptances } from "./acceptances.ts";
import { createTurnAbort } from "./turn-abort.ts";
import { createTurnProgress } from "./turn-progress.ts";
import {
  endsTurn,
  isGiving,
  joinedTo,
  messageToldBy,
  noteEvent,
  type Steered,
  servedBy,
  type TurnRun,
  tooLateFor,
} from "./turn-run.ts";
import type { TurnRunner, TurnRunnerOptions } from "./turn-vocabulary.ts";
import type { Sender } from "./vocabulary.ts";

/** The turn of a session that runs, if one does: begun, told of by events, ended. */
export interface CurrentRun
  extends Pick<TurnRunner, "observe" | "ending" | "idle" | "interrupt" | "failed" | "owesError"> {
  readonly run: TurnRun | undefined;
  /** Throws `cancelled` if this run is not the current one any more. */
  assert(run: TurnRun): void;
  /** Only while nothing runs. */
  begin(turn: Turn<Sender>): TurnRun;
  /** The runtime has answered that it has taken a message of the run. */
  taken(turn: Turn<Sender>, runtimeMessageId: string): void;
  /** No message of the run is on its way to the runtime any more: the next one may be delivered. */
  letNextIn(): void;
  /** Aborts this run and no later one, however long the way to the runtime is. */
  abort(run: TurnRun): Promise<void>;
  /** Ends the current run, and begins with what came too late for it. */
  finish(run: TurnRun, outcome: TurnOutcome): void;
}

export const createCurrentRun = (
  options: TurnRunnerOptions,
  {
    queue,
    acceptances,
    onFree,
  }: {
    readonly queue: Pick<TurnQueue<Sender>, "adopt" | "end">;
    readonly acceptances: Acceptances;
    /** A run has ended and the runtime has nothing else to do. */
    readonly onFree: () => void;
  },
): CurrentRun => {
  const { clock } = options;
  let current: TurnRun | undefined;

  const assert = (run: TurnRun): void => {
    if (current !== run) throw new SquadronError("cancelled", "The turn has ended meanwhile.");
  };

  const begin = (turn: Turn<Sender>, steered: readonly Steered[]): TurnRun => {
    const run: TurnRun = {
      turn,
      progress: createTurnProgress(() => clock.monotonic()),
      steered,
      submitted: false,
      aborting: false,
      idleSeen: false,
      over: false,
      unbegun: false,
      taken: Promise.withResolvers(),
      cancelTimer: clock.after(options.turnTimeoutMs, () => timeOut(run)),
      cancelWatch: () => undefined,
    };
    current = run;
    return run;
  };

  const letNextIn = (): void => {
    if (current !== undefined && !isGiving(current)) current.taken.resolve();
  };

  /** What the runtime has got already is the next turn, before all that wait. */
  const beginWithLate = (next: Steered, others: readonly Steered[], former: TurnRun): void => {
    queue.adopt(next.turn);
    const begun = begin(next.turn, others);
    begun.submitted = true;
    begun.unbegun = true;
    // The abort may have come too late for its turn, and in time for this one.
    begun.aborting = former.aborting;
    watch(begun);
    letNextIn();
  };

  const finish = (run: TurnRun, outcome: TurnOutcome): void => {
    const { turn, progress } = run;
    const joined = joinedTo(run, outcome.kind);
    const [next, ...others] = tooLateFor(run, outcome.kind);
    current = undefined;
    run.cancelTimer();
    run.cancelWatch();
    run.taken.resolve();
    for (const one of [turn, ...joined])
      acceptances.reject(
        one,
        new SquadronError("turn_timeout", "The runtime did not take the message in time."),
      );
    queue.end(turn, outcome);
    for (const one of joined) one.change({ kind: "end", outcome });
    const { startedAt, firstTokenAt } = progress;
    options.onEnd(
      { turn, joined, outcome },
      { queuedAt: turn.queuedAt, startedAt, firstTokenAt, endedAt: clock.monotonic() },
    );
    if (next === undefined) onFree();
    else beginWithLate(next, others, run);
  };

  const { abort, timeOut, watch } = createTurnAbort(options, {
    is: (run) => current === run,
    assert,
    finish,
  });

  const accepted = (turn: Turn<Sender>, runtimeMessageId: string): void => {
    if (turn.state.kind !== "submitting") return;
    turn.change({ kind: "accepted", runtimeMessageId });
    acceptances.accepted(turn, runtimeMessageId);
    letNextIn();
  };

  return {
    get run() {
      return current;
    },
    assert,
    begin: (turn) => begin(turn, []),
    taken(turn, runtimeMessageId) {
      accepted(turn, runtimeMessageId);
      if (current?.turn === turn && current.idleSeen) finish(current, current.progress.outcome());
    },
    letNextIn,
    abort,
    finish,
    observe(type, data, agentId) {
      const run = current;
      if (run === undefined) return;
      const told = messageToldBy(run, type, data);
      if (told !== undefined) accepted(told.turn, told.id);
      noteEvent(run, { type, data, agentId }, told);
    },
    ending(data) {
      if (!current?.submitted || !endsTurn(data)) return undefined;
      const outcome = current.progress.outcome();
      return { turn: current.turn, joined: joinedTo(current, outcome.kind), outcome };
    },
    idle(data) {
      if (!current?.submitted || !endsTurn(data)) return;
      if (current.turn.state.kind === "submitting") current.idleSeen = true;
      else finish(current, current.progress.outcome());
    },
    interrupt(message) {
      if (current === undefined) return;
      const error = new SquadronError("runtime_gone", message);
      for (const one of servedBy(current, "interrupted")) acceptances.reject(one, error);
      finish(current, { kind: "interrupted", message });
    },
    get failed() {
      return current?.progress.failed === true;
    },
    get owesError() {
      return current?.progress.owesError === true;
    },
  };
};
