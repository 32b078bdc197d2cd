import { SquadronError } from "../kernel/errors.ts";
import { abortedUnbegun, type Turn, type TurnOutcome } from "../sessions/turn.ts";
import type { Acceptances } from "./acceptances.ts";
import type { CurrentRun } from "./current-run.ts";
import { assertMayJoin } from "./turn-limits.ts";
import { isGiving, type Steered, type TurnRun, takesNone } from "./turn-run.ts";
import type { SendManner, TurnRunner, TurnRunnerOptions } from "./turn-vocabulary.ts";
import type { SendAnswer, Sender, SentMessage } from "./vocabulary.ts";

/** Delivers messages into the running turn, one after the other. */
export interface TurnSteering extends Pick<TurnRunner, "steer" | "unsteered"> {
  /** Messages that wait until the running turn can take them: their senders ask, though they are in no turn yet. */
  readonly arriving: ReadonlySet<Turn<Sender>>;
  /** Does a turn's row say that it has begun, though it may wait now? No other node would run it. */
  isNoted(turn: Turn<Sender>): boolean;
}

export const createTurnSteering = (
  options: Pick<TurnRunnerOptions, "queueLength" | "assertMaySend" | "steering" | "submit" | "onCancelled">,
  {
    current,
    acceptances,
    make,
    sendFirst,
    stopped,
  }: {
    readonly current: CurrentRun;
    readonly acceptances: Acceptances;
    readonly make: (
      sender: Sender,
      parameters: Readonly<Record<string, unknown>>,
      how: SendManner,
    ) => Turn<Sender>;
    /** Sends a message before all that wait, when nothing runs that it could be delivered into. */
    readonly sendFirst: (turn: Turn<Sender>, answer: SendAnswer) => Promise<SentMessage>;
    /** Why no message is taken any more, if so. */
    readonly stopped: () => SquadronError | undefined;
  },
): TurnSteering => {
  const noted = new WeakSet<Turn<Sender>>();
  const arriving = new Set<Turn<Sender>>();

  const cancel = (turn: Turn<Sender>, outcome: TurnOutcome): void => {
    turn.change({ kind: "end", outcome });
    options.onCancelled(turn, outcome);
  };

  const deliver = (run: TurnRun, turn: Turn<Sender>): void => {
    const steered: Steered = { turn, seen: false, takenUp: false };
    turn.change({ kind: "submit" });
    run.steered = [...run.steered, steered];
    run.taken = Promise.withResolvers();
    const taking = (): void => {
      // It may have become the next turn on its way.
      if (current.run?.turn !== turn) current.assert(run);
      options.assertMaySend(turn.sender);
    };
    const given = options.submit({ ...turn.parameters, mode: "immediate" }, taking, turn.sender);
    given.then(
      (id) => current.taken(turn, id),
      (error) => {
        if (turn.state.kind === "ended") return;
        const outcome = acceptances.notTaken(turn, error);
        const now = current.run;
        if (now?.turn === turn) return current.finish(now, outcome);
        if (now !== undefined) now.steered = now.steered.filter((one) => one !== steered);
        turn.change({ kind: "end", outcome });
        current.letNextIn();
        options.onCancelled(turn, outcome);
      },
    );
  };

  const mayTake = (run: TurnRun): boolean => current.run === run && !takesNone(run) && !isGiving(run);

  const deliverOrSend = async (turn: Turn<Sender>, answer: SendAnswer): Promise<SentMessage> => {
    for (;;) {
      const reason = stopped();
      if (reason !== undefined) throw reason;
      options.assertMaySend(turn.sender);
      const { run } = current;
      if (run === undefined) return sendFirst(turn, answer);
      await (takesNone(run) ? run.turn.ended : run.taken.promise);
      if (!mayTake(run)) continue;
      assertMayJoin(run, options.queueLength);
      if (!noted.has(turn)) await options.steering(turn);
      noted.add(turn);
      if (!mayTake(run)) continue;
      const taken = answer === "taken" ? acceptances.wait(turn) : turn.id;
      deliver(run, turn);
      return { messageId: await taken, turn };
    }
  };

  return {
    arriving,
    isNoted: (turn) => noted.has(turn),
    async steer(sender, parameters, how) {
      const turn = make(sender, parameters, how);
      arriving.add(turn);
      try {
        return await deliverOrSend(turn, how.answer);
      } catch (error) {
        // It may have a row already, from before the turn ended that it was meant for.
        if (turn.state.kind === "queued") cancel(turn, { kind: "refused", error });
        throw error;
      } finally {
        arriving.delete(turn);
      }
    },
    unsteered(which) {
      const { run } = current;
      if (run === undefined) return;
      const pending = run.steered.filter(({ seen }) => !seen);
      const gone = which === "last" ? pending.slice(-1) : pending;
      run.steered = run.steered.filter((one) => !gone.includes(one));
      for (const { turn } of gone) {
        acceptances.refuse(
          turn,
          new SquadronError("turn_aborted", "The message was taken back before it was delivered."),
        );
        cancel(turn, abortedUnbegun);
      }
      current.letNextIn();
    },
  };
};
