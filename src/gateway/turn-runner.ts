import { SquadronError } from "../kernel/errors.ts";
import { newUuid } from "../kernel/ids.ts";
import { abortedUnbegun, createTurn, type Turn, type TurnOutcome } from "../sessions/turn.ts";
import { createTurnQueue } from "../sessions/turn-queue.ts";
import { createAcceptances } from "./acceptances.ts";
import { createCurrentRun } from "./current-run.ts";
import { createOpenTurns } from "./open-turns.ts";
import { assertMayWait, lineOf } from "./turn-limits.ts";
import { createTurnSeat } from "./turn-seat.ts";
import { createTurnSteering } from "./turn-steering.ts";
import type { SendManner, TurnRunner, TurnRunnerOptions } from "./turn-vocabulary.ts";
import type { SendAnswer, Sender, SentMessage } from "./vocabulary.ts";

export const createTurnRunner = (options: TurnRunnerOptions): TurnRunner => {
  const { clock } = options;
  const queue = createTurnQueue<Sender>(lineOf);
  const acceptances = createAcceptances(options);
  let stopped: SquadronError | undefined;

  const make = (
    sender: Sender,
    parameters: Readonly<Record<string, unknown>>,
    { key, onTurn }: SendManner,
  ): Turn<Sender> => {
    const turn = createTurn({ id: newUuid(), sender, parameters, key, queuedAt: clock.monotonic() });
    onTurn?.(turn);
    return turn;
  };

  const drop = (turn: Turn<Sender>, outcome: TurnOutcome): Promise<void> => {
    queue.end(turn, outcome);
    return options.onCancelled(turn, outcome);
  };

  const onFree = (): void => {
    seat.leave();
    pump();
  };

  const current = createCurrentRun(options, { queue, acceptances, onFree });

  /** Begins with what is next, if nothing runs and there is a place for it. */
  const pump = (): void => {
    if (current.run !== undefined || !seat.held()) return;
    const turn = queue.begin();
    if (turn === undefined) return;
    const run = current.begin(turn);
    const submitted = async (): Promise<string> => {
      await options.begun(turn);
      const taking = (): void => {
        // What it was told then holds: a message that has ended is not given to the runtime.
        current.assert(run);
        options.assertMaySend(turn.sender);
        run.submitted = true;
      };
      return options.submit(turn.parameters, taking, turn.sender);
    };
    submitted().then(
      (id) => current.taken(turn, id),
      (error) => {
        if (current.run === run) current.finish(run, acceptances.notTaken(turn, error));
      },
    );
  };

  const seat = createTurnSeat({
    place: options.place,
    next: () => queue.waiting[0]?.sender,
    onHeld: pump,
  });

  /** Puts the message into the queue and stores that, unless it begins at once and its sender waits for that. */
  const enqueue = async (turn: Turn<Sender>, answer: SendAnswer, first: boolean): Promise<SentMessage> => {
    assertMayWait(queue.waiting, turn.sender, options.queueLength);
    queue.add(turn, first);
    const waits = current.run !== undefined || queue.waiting.length > 1 || !seat.held();
    if (answer === "taken" && !waits) {
      const taken = acceptances.wait(turn);
      pump();
      return { messageId: await taken, turn };
    }
    turn.promised = answer !== "ended";
    if (turn.promised || waits) {
      try {
        await options.accepted(turn);
      } catch (error) {
        // Had it begun meanwhile, that has been refused for the same reason.
        if (turn.state.kind === "queued") drop(turn, { kind: "refused", error });
        pump();
        throw error;
      }
    }
    pump();
    return { messageId: turn.id, turn };
  };

  const steering = createTurnSteering(options, {
    current,
    acceptances,
    make,
    sendFirst: (turn, answer) => enqueue(turn, answer, true),
    stopped: () => stopped,
  });

  const open = createOpenTurns({
    run: () => current.run,
    waiting: () => queue.waiting,
    arriving: steering.arriving,
  });

  return {
    get current() {
      return current.run?.turn;
    },
    get waiting() {
      return queue.waiting;
    },
    async send(sender, parameters, how, first = false) {
      if (stopped !== undefined) throw stopped;
      options.assertMaySend(sender);
      return enqueue(make(sender, parameters, how), how.answer, first);
    },
    steer: steering.steer,
    restore(turns) {
      // They stay stored for the next node.
      if (stopped !== undefined) return;
      for (const turn of turns) if (open.find(turn.id) === undefined) queue.add(turn);
      pump();
    },
    async abort(which) {
      const ended = queue.waiting.filter(which);
      const dropped = Promise.all(ended.map((turn) => drop(turn, abortedUnbegun)));
      pump();
      const { run } = current;
      if (run === undefined || run.over || !which(run.turn)) {
        await dropped;
        return ended;
      }
      if (run.submitted) await Promise.all([dropped, current.abort(run)]);
      else {
        const message = "The turn was aborted before the runtime had got it.";
        acceptances.refuse(run.turn, new SquadronError("turn_aborted", message));
        current.finish(run, abortedUnbegun);
        await dropped;
      }
      return [run.turn, ...ended];
    },
    unsteered: steering.unsteered,
    stop(message) {
      stopped = new SquadronError(
        "draining",
        "The node is shutting down and did not begin with this message; send it again.",
      );
      const kept = new SquadronError(
        "draining",
        "The node is shutting down. The message is stored, and the next node answers it; do not send it again.",
        { details: { stored: true } },
      );
      for (const turn of queue.waiting) {
        if (turn.promised && !steering.isNoted(turn)) queue.end(turn, { kind: "refused", error: kept });
        else drop(turn, { kind: "refused", error: stopped });
      }
      current.interrupt(message);
      pump();
    },
    end(message, error) {
      stopped = error;
      for (const turn of queue.waiting) drop(turn, { kind: "refused", error });
      current.interrupt(message);
      pump();
    },
    interrupt: current.interrupt,
    observe: current.observe,
    ending: current.ending,
    idle: current.idle,
    get failed() {
      return current.failed;
    },
    get owesError() {
      return current.owesError;
    },
    find: open.find,
    serves: open.serves,
    waits: open.waits,
    asks: open.asks,
    get toRun() {
      return open.toRun;
    },
  };
};
