import { SquadronError } from "../kernel/errors.ts";
import { newUuid } from "../kernel/ids.ts";
import { isObject } from "../kernel/json.ts";
import { abortedUnbegun, createTurn, type Turn, type TurnOutcome } from "../sessions/turn.ts";
import { createTurnQueue } from "../sessions/turn-queue.ts";
import { createAcceptances } from "./acceptances.ts";
import { watchEnd } from "./end-watch.ts";
import type { TurnPlace } from "./turn-places.ts";
import { createTurnProgress } from "./turn-progress.ts";
import {
  endsTurn,
  isAnswer,
  isDoubtful,
  isGiving,
  joinedTo,
  type Steered,
  type TurnRun,
  takesNone,
} from "./turn-run.ts";
import type { SendManner, TurnRunner, TurnRunnerOptions } from "./turn-vocabulary.ts";
import type { SendAnswer, Sender, SentMessage } from "./vocabulary.ts";

/** What clients are told when a runtime dies over a turn. */
export const runtimeGone =
  "The runtime that was answering has gone; the turn was interrupted. Send the message again if you want it answered.";

/** How long a turn that was told to abort may take to say that it is idle. */
const abortGraceMs = 10_000;

const lineOf = ({ principal }: Sender): string => JSON.stringify([principal.tenant, principal.user]);

export const createTurnRunner = (options: TurnRunnerOptions): TurnRunner => {
  const { clock } = options;
  const queue = createTurnQueue<Sender>(lineOf);
  const acceptances = createAcceptances(options);
  let current: TurnRun | undefined;
  let stopped: SquadronError | undefined;
  /** Turns that wait although their rows say that they have begun: no other node would run them. */
  const noted = new WeakSet<Turn<Sender>>();
  /** Messages that wait until the running turn can take them: their senders ask, though they are in no turn yet. */
  const arriving = new Set<Turn<Sender>>();
  /** For what runs, else for what runs next. */
  let seat: { readonly line: string; readonly place: TurnPlace } | undefined;

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

  const assertCurrent = (run: TurnRun): void => {
    if (current !== run) throw new SquadronError("cancelled", "The turn has ended meanwhile.");
  };

  /** The runtime does nothing any more, and has not told the end. */
  const endLost = async (run: TurnRun): Promise<void> => {
    // A message that it keeps would come up in a later turn.
    await options.abortUpstream(() => assertCurrent(run));
    // The end may have come and wait until something before it is stored.
    await options.eventsTakenIn();
    if (current === run && isDoubtful(run)) options.onEndLost(run.aborting);
  };

  const watch = (run: TurnRun): void => {
    run.cancelWatch();
    run.cancelWatch = watchEnd({
      clock,
      isDoubtful: () => current === run && isDoubtful(run),
      isProcessing: async () => isGiving(run) || options.isProcessing(),
      onLost: () => endLost(run),
    });
  };

  /** Aborts this turn and no later one, however long the way to the runtime is. */
  const abortRun = async (run: TurnRun): Promise<void> => {
    if (run.over) return;
    const watched = isDoubtful(run);
    run.aborting = true;
    if (!watched) watch(run);
    try {
      await options.abortUpstream(() => assertCurrent(run));
    } catch (error) {
      if (current === run) throw error;
    }
  };

  const leaveSeat = (): void => {
    const left = seat;
    seat = undefined;
    left?.place.release();
  };

  /** Has what would run next a place? Nothing runs. */
  const seated = (): boolean => {
    const sender = queue.waiting[0]?.sender;
    const line = sender && lineOf(sender);
    if (seat?.line !== line) leaveSeat();
    if (sender === undefined || line === undefined) return false;
    seat ??= { line, place: options.place(sender, pump) };
    return seat.place.held;
  };

  const finish = (run: TurnRun, outcome: TurnOutcome): void => {
    const { turn, progress } = run;
    const joined = joinedTo(run, outcome.kind);
    const late = run.steered.filter((one) => !joined.includes(one.turn));
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
    const [next, ...others] = late;
    if (next === undefined) {
      leaveSeat();
      pump();
      return;
    }
    queue.adopt(next.turn);
    const begun = begin(next.turn, others);
    begun.submitted = true;
    begun.unbegun = true;
    // The abort may have come too late for its turn, and in time for this one.
    begun.aborting = run.aborting;
    watch(begun);
    letNextIn();
  };

  const timedOut = (run: TurnRun): void => {
    run.progress.timedOut(`The turn took longer than ${options.turnTimeoutMs} ms and was aborted.`);
    const giveUp = (): void => {
      if (current !== run) return;
      options.onStuck();
      finish(run, run.progress.outcome());
    };
    run.cancelTimer = clock.after(abortGraceMs, giveUp);
    abortRun(run).catch(giveUp);
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
      cancelTimer: clock.after(options.turnTimeoutMs, () => timedOut(run)),
      cancelWatch: () => undefined,
    };
    current = run;
    return run;
  };

  const letNextIn = (): void => {
    if (current !== undefined && !isGiving(current)) current.taken.resolve();
  };

  const accepted = (turn: Turn<Sender>, runtimeMessageId: string): void => {
    if (turn.state.kind !== "submitting") return;
    turn.change({ kind: "accepted", runtimeMessageId });
    acceptances.accepted(turn, runtimeMessageId);
    letNextIn();
  };

  /** The runtime has not taken the message of a turn: what it was told is told to whoever asked. */
  const notTaken = (turn: Turn<Sender>, error: unknown): TurnOutcome => {
    // What a runtime had got when it died may have had effects.
    const gone = error instanceof SquadronError && error.code === "connection_closed";
    const told = gone ? new SquadronError("runtime_gone", runtimeGone, { cause: error }) : error;
    acceptances.refuse(turn, told);
    return gone ? { kind: "interrupted", message: runtimeGone } : { kind: "refused", error: told };
  };

  const pump = (): void => {
    if (current !== undefined || !seated()) return;
    const turn = queue.begin();
    if (turn === undefined) return;
    const run = begin(turn, []);
    const submitted = async (): Promise<string> => {
      await options.begun(turn);
      const taking = (): void => {
        // What it was told then holds: a message that has ended is not given to the runtime.
        assertCurrent(run);
        options.assertMaySend(turn.sender);
        run.submitted = true;
      };
      return options.submit(turn.parameters, taking, turn.sender);
    };
    submitted().then(
      (id) => {
        accepted(turn, id);
        if (run.idleSeen && current === run) finish(run, run.progress.outcome());
      },
      (error) => {
        if (current === run) finish(run, notTaken(turn, error));
      },
    );
  };

  const deliver = (run: TurnRun, turn: Turn<Sender>): void => {
    const steered: Steered = { turn, seen: false, takenUp: false };
    turn.change({ kind: "submit" });
    run.steered = [...run.steered, steered];
    run.taken = Promise.withResolvers();
    const taking = (): void => {
      // It may have become the next turn on its way.
      if (current?.turn !== turn) assertCurrent(run);
      options.assertMaySend(turn.sender);
    };
    const given = options.submit({ ...turn.parameters, mode: "immediate" }, taking, turn.sender);
    given.then(
      (id) => {
        accepted(turn, id);
        if (current?.turn === turn && current.idleSeen) finish(current, current.progress.outcome());
      },
      (error) => {
        if (turn.state.kind === "ended") return;
        const outcome = notTaken(turn, error);
        if (current?.turn === turn) return finish(current, outcome);
        if (current !== undefined) current.steered = current.steered.filter((one) => one !== steered);
        turn.change({ kind: "end", outcome });
        letNextIn();
        options.onCancelled(turn, outcome);
      },
    );
  };

  const interrupt = (message: string): void => {
    const run = current;
    if (run === undefined) return;
    const error = new SquadronError("runtime_gone", message);
    for (const one of [run.turn, ...joinedTo(run, "interrupted")]) acceptances.reject(one, error);
    finish(run, { kind: "interrupted", message });
  };

  const assertRoom = (taken: number, full: string): void => {
    if (taken >= options.queueLength)
      throw new SquadronError("queue_full", full, { details: { limit: options.queueLength } });
  };

  /** Puts the message into the queue and stores that, unless it begins at once and its sender waits for that. */
  const enqueue = async (turn: Turn<Sender>, answer: SendAnswer, first: boolean): Promise<SentMessage> => {
    const { waiting } = queue;
    // Nobody who fills the queue keeps those out who have nothing in it.
    if (waiting.some(({ sender }) => lineOf(sender) === lineOf(turn.sender)))
      assertRoom(
        waiting.length,
        `${waiting.length} messages already wait in this session; try again when one has been answered.`,
      );
    queue.add(turn, first);
    const waits = current !== undefined || queue.waiting.length > 1 || !seated();
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

  const deliverOrSend = async (turn: Turn<Sender>, answer: SendAnswer): Promise<SentMessage> => {
    while (stopped === undefined) {
      options.assertMaySend(turn.sender);
      const run = current;
      if (run === undefined) return enqueue(turn, answer, true);
      await (takesNone(run) ? run.turn.ended : run.taken.promise);
      if (current !== run || takesNone(run) || isGiving(run)) continue;
      const { length } = run.steered;
      assertRoom(length, `${length} messages were already delivered into this turn; wait for its end.`);
      if (!noted.has(turn)) await options.steering(turn);
      noted.add(turn);
      if (current !== run || takesNone(run) || isGiving(run)) continue;
      const taken = answer === "taken" ? acceptances.wait(turn) : turn.id;
      deliver(run, turn);
      return { messageId: await taken, turn };
    }
    throw stopped;
  };

  const servedBy = (end?: TurnOutcome["kind"]): readonly Turn<Sender>[] =>
    current === undefined ? [] : [current.turn, ...joinedTo(current, end ?? current.progress.outcome().kind)];
  const unfinished = (): readonly Turn<Sender>[] =>
    current === undefined
      ? queue.waiting
      : [current.turn, ...current.steered.map(({ turn }) => turn), ...queue.waiting];

  const asking = (): readonly Turn<Sender>[] =>
    [...unfinished(), ...arriving].filter(({ state }) => state.kind !== "ended");

  const find = (id: string): Turn<Sender> | undefined =>
    unfinished().find((turn) => turn.id === id || turn.runtimeMessageId === id);

  return {
    get current() {
      return current?.turn;
    },
    get waiting() {
      return queue.waiting;
    },
    async send(sender, parameters, how, first = false) {
      if (stopped !== undefined) throw stopped;
      options.assertMaySend(sender);
      return enqueue(make(sender, parameters, how), how.answer, first);
    },
    async steer(sender, parameters, how) {
      const turn = make(sender, parameters, how);
      arriving.add(turn);
      try {
        return await deliverOrSend(turn, how.answer);
      } catch (error) {
        // It may have a row already, from before the turn ended that it was meant for.
        if (turn.state.kind === "queued") {
          const outcome: TurnOutcome = { kind: "refused", error };
          turn.change({ kind: "end", outcome });
          options.onCancelled(turn, outcome);
        }
        throw error;
      } finally {
        arriving.delete(turn);
      }
    },
    restore(turns) {
      // They stay stored for the next node.
      if (stopped !== undefined) return;
      for (const turn of turns) if (find(turn.id) === undefined) queue.add(turn);
      pump();
    },
    find,
    observe(type, data, agentId) {
      const run = current;
      if (run === undefined) return;
      if (type === "user.message" && isObject(data) && typeof data.messageId === "string") {
        const id = data.messageId;
        if (run.turn.state.kind === "submitting") accepted(run.turn, id);
        else {
          const steered =
            run.steered.find(({ turn }) => turn.runtimeMessageId === id) ??
            run.steered.find(({ turn }) => turn.state.kind === "submitting");
          if (steered !== undefined && run.turn.runtimeMessageId !== id) {
            accepted(steered.turn, id);
            steered.seen = true;
          }
        }
      }
      if (type === "assistant.turn_start" && agentId === undefined) run.unbegun = false;
      if (type === "session.idle" && run.submitted && endsTurn(data)) run.over = true;
      if (isAnswer(type, data)) for (const one of run.steered) one.takenUp ||= one.seen;
      run.progress.observe(type, data);
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
    async abort(which) {
      const ended = queue.waiting.filter(which);
      const dropped = Promise.all(ended.map((turn) => drop(turn, abortedUnbegun)));
      pump();
      const run = current;
      if (run === undefined || run.over || !which(run.turn)) {
        await dropped;
        return ended;
      }
      if (run.submitted) await Promise.all([dropped, abortRun(run)]);
      else {
        const message = "The turn was aborted before the runtime had got it.";
        acceptances.refuse(run.turn, new SquadronError("turn_aborted", message));
        finish(run, abortedUnbegun);
        await dropped;
      }
      return [run.turn, ...ended];
    },
    unsteered(which) {
      if (current === undefined) return;
      const pending = current.steered.filter(({ seen }) => !seen);
      const gone = which === "last" ? pending.slice(-1) : pending;
      current.steered = current.steered.filter((one) => !gone.includes(one));
      for (const { turn } of gone) {
        acceptances.refuse(
          turn,
          new SquadronError("turn_aborted", "The message was taken back before it was delivered."),
        );
        turn.change({ kind: "end", outcome: abortedUnbegun });
        options.onCancelled(turn, abortedUnbegun);
      }
      letNextIn();
    },
    interrupt,
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
        if (turn.promised && !noted.has(turn)) queue.end(turn, { kind: "refused", error: kept });
        else drop(turn, { kind: "refused", error: stopped });
      }
      interrupt(message);
      pump();
    },
    end(message, error) {
      stopped = error;
      for (const turn of queue.waiting) drop(turn, { kind: "refused", error });
      interrupt(message);
      pump();
    },
    serves: (sender, end) => servedBy(end).some((turn) => turn.sender === sender),
    waits: (sender, end) => {
      const served = servedBy(end);
      return asking().some((turn) => turn.sender === sender && !served.includes(turn));
    },
    get toRun() {
      return asking().filter(({ state }) => state.kind !== "running");
    },
    asks: (sender) => asking().some((turn) => turn.sender === sender),
    get failed() {
      return current?.progress.failed === true;
    },
    get owesError() {
      return current?.progress.owesError === true;
    },
  };
};
