import type { Clock } from "../kernel/clock.ts";
import { SquadronError } from "../kernel/errors.ts";
import { newUuid } from "../kernel/ids.ts";
import { isObject } from "../kernel/json.ts";
import { createTurnQueue, type Turn, type TurnOutcome, type Usage } from "../sessions/turn-queue.ts";
import type { Envelope } from "../wire/envelope.ts";
import type { Connection, SentMessage } from "./vocabulary.ts";

/** What clients are told when a runtime dies over a turn. */
export const runtimeGone =
  "The runtime that was answering has gone; the turn was interrupted. Send the message again if you want it answered.";

/** How long a turn that was told to abort may take to say that it is idle. */
const abortGraceMs = 10_000;

export interface TurnTimes {
  readonly queuedAt: number;
  readonly startedAt: number;
  readonly firstTokenAt: number | undefined;
  readonly endedAt: number;
}

export interface TurnRunnerOptions {
  readonly clock: Clock;
  readonly queueLength: number;
  readonly turnTimeoutMs: number;
  /** Notes that a message has been taken and must wait. It is acknowledged after that. */
  accepted(turn: Turn<Connection>): Promise<void>;
  /** Notes that a turn begins. It does after that. */
  begun(turn: Turn<Connection>): Promise<void>;
  /**
   * Gives a message to the runtime; resolves with the runtime's id of it. Calls `taking` when nothing need be waited for
   * any more; it throws when the message must not be given.
   */
  submit(parameters: Readonly<Record<string, unknown>>, taking: () => void): Promise<string>;
  abortUpstream(): Promise<Envelope>;
  /** The runtime has named a message that we had already named otherwise. */
  onRenamed(runtimeMessageId: string, clientMessageId: string): void;
  /** A turn that has ended for its client goes on in the runtime. */
  onStuck(): void;
  /** A message that had been acknowledged could not be given to the runtime. */
  onRefused(turn: Turn<Connection>, error: unknown): void;
  onEnd(turn: Turn<Connection>, outcome: TurnOutcome, times: TurnTimes): void;
  /** A message that waited has been dropped; its turn has never begun. */
  onCancelled(turn: Turn<Connection>, outcome: TurnOutcome): void;
}

/** Sends the messages of one session upstream, one turn at a time, and tells by the events how each went. */
export interface TurnRunner {
  readonly current: Turn<Connection> | undefined;
  readonly waiting: number;
  /** Resolves as soon as the message has an id: the runtime's, or one of ours when it must wait. */
  send(sender: Connection, parameters: Readonly<Record<string, unknown>>): Promise<SentMessage>;
  /** Takes in an event before it is passed on. */
  observe(type: string, data: unknown): void;
  /** The turn that an idle with this data ends, and how. */
  ending(data: unknown): { readonly turn: Turn<Connection>; readonly outcome: TurnOutcome } | undefined;
  /** Takes in the end of a turn after it was passed on. */
  idle(data: unknown): void;
  /** Drops what this sender has waiting or is just about to be given to the runtime, and aborts what runs. */
  abort(sender: Connection): Promise<Envelope>;
  /** The runtime has gone. */
  interrupt(message: string): void;
  /** The node is closing: the running turn is interrupted, waiting ones are refused, and so is every later one. */
  stop(message: string): void;
  /** Has this sender a later turn than the running one? */
  waits(sender: Connection): boolean;
  /** Has this sender any turn that has not ended? */
  asks(sender: Connection): boolean;
  /** Has a `session.error` of the running turn come? */
  readonly failed: boolean;
  /** Must a `session.error` of the running turn still come? */
  readonly owesError: boolean;
}

interface Progress {
  content: string;
  usage: Usage;
  error: string | undefined;
  timedOut: boolean;
  /** The model's part of the turn has failed; a `session.error` says how, sometimes only after the idle. */
  failing: boolean;
  aborted: boolean;
  startedAt: number;
  firstTokenAt: number | undefined;
  acknowledged: boolean;
  /** Before that, no idle of the runtime can be this turn's. */
  submitted: boolean;
  idleSeen: boolean;
  cancelTimer: () => void;
}

export const createTurnRunner = (options: TurnRunnerOptions): TurnRunner => {
  const { clock } = options;
  const queue = createTurnQueue<Connection>(options.queueLength);
  const acceptances = new Map<
    Turn<Connection>,
    { resolve(id: string): void; reject(error: unknown): void }
  >();
  let progress: Progress | undefined;
  let stopped: SquadronError | undefined;

  const finish = (turn: Turn<Connection>, outcome: TurnOutcome): void => {
    const done = progress;
    progress = undefined;
    done?.cancelTimer();
    acceptances
      .get(turn)
      ?.reject(new SquadronError("turn_timeout", "The runtime did not take the message in time."));
    acceptances.delete(turn);
    queue.end(turn, outcome);
    options.onEnd(turn, outcome, {
      queuedAt: turn.queuedAt,
      startedAt: done?.startedAt ?? turn.queuedAt,
      firstTokenAt: done?.firstTokenAt,
      endedAt: clock.monotonic(),
    });
    pump();
  };

  const outcomeOf = ({ content, usage, error, timedOut, aborted }: Progress): TurnOutcome => {
    if (error !== undefined)
      return { kind: "failed", reason: timedOut ? "timeout" : "error", message: error, content, usage };
    return aborted ? { kind: "aborted", content, usage } : { kind: "completed", content, usage };
  };

  const timedOut = (turn: Turn<Connection>, made: Progress): void => {
    made.timedOut = true;
    made.error = `The turn took longer than ${options.turnTimeoutMs} ms and was aborted.`;
    const giveUp = (): void => {
      if (queue.current !== turn) return;
      options.onStuck();
      finish(turn, outcomeOf(made));
    };
    made.cancelTimer = clock.after(abortGraceMs, giveUp);
    options.abortUpstream().catch(giveUp);
  };

  const accepted = (turn: Turn<Connection>, runtimeMessageId: string): void => {
    if (turn.state.kind !== "submitting") return;
    queue.accepted(turn, runtimeMessageId);
    if (progress?.acknowledged) options.onRenamed(runtimeMessageId, turn.id);
    acceptances.get(turn)?.resolve(runtimeMessageId);
    acceptances.delete(turn);
  };

  const pump = (): void => {
    const turn = queue.begin();
    if (turn === undefined) return;
    const made: Progress = {
      content: "",
      usage: { inputTokens: 0, outputTokens: 0 },
      error: undefined,
      timedOut: false,
      failing: false,
      aborted: false,
      startedAt: clock.monotonic(),
      firstTokenAt: undefined,
      acknowledged: !acceptances.has(turn),
      submitted: false,
      idleSeen: false,
      cancelTimer: clock.after(options.turnTimeoutMs, () => timedOut(turn, made)),
    };
    progress = made;
    const submitted = async (): Promise<string> => {
      await options.begun(turn);
      return options.submit(turn.parameters, () => {
        // What it was told then holds: a message that has ended is not given to the runtime.
        if (queue.current !== turn) throw new SquadronError("cancelled", "The turn has ended meanwhile.");
        made.submitted = true;
      });
    };
    submitted().then(
      (id) => {
        accepted(turn, id);
        if (made.idleSeen && queue.current === turn) finish(turn, outcomeOf(made));
      },
      (error) => {
        if (queue.current !== turn) return;
        // What a runtime had got when it died may have had effects.
        const gone = error instanceof SquadronError && error.code === "connection_closed";
        const told = gone ? new SquadronError("runtime_gone", runtimeGone, { cause: error }) : error;
        refuse(turn, told);
        finish(turn, gone ? { kind: "interrupted", message: runtimeGone } : { kind: "refused", error: told });
      },
    );
  };

  /** Tells whoever asked that the runtime has not got the message. */
  const refuse = (turn: Turn<Connection>, error: unknown): void => {
    const waiter = acceptances.get(turn);
    acceptances.delete(turn);
    if (waiter === undefined) options.onRefused(turn, error);
    else waiter.reject(error);
  };

  const cancelWaiting = (which: (turn: Turn<Connection>) => boolean, outcome: TurnOutcome): void => {
    for (const turn of queue.cancelWaiting(which, outcome)) options.onCancelled(turn, outcome);
  };

  const interrupt = (message: string): void => {
    const turn = queue.current;
    if (turn === undefined) return;
    acceptances.get(turn)?.reject(new SquadronError("runtime_gone", message));
    acceptances.delete(turn);
    finish(turn, { kind: "interrupted", message });
  };

  const observe = (type: string, data: unknown): void => {
    const turn = queue.current;
    if (turn === undefined || progress === undefined || !isObject(data)) return;
    switch (type) {
      case "user.message":
        if (typeof data.messageId === "string") accepted(turn, data.messageId);
        break;
      case "assistant.message":
        if (data.parentToolCallId === undefined && typeof data.content === "string" && data.content !== "")
          progress.content = data.content;
        break;
      case "assistant.message_start":
        progress.firstTokenAt ??= clock.monotonic();
        break;
      case "assistant.usage":
        progress.usage = {
          inputTokens: progress.usage.inputTokens + Number(data.inputTokens ?? 0),
          outputTokens: progress.usage.outputTokens + Number(data.outputTokens ?? 0),
        };
        break;
      case "model.turn_failed":
        progress.failing = true;
        break;
      case "session.error":
        progress.error ??= typeof data.message === "string" ? data.message : "The turn failed.";
        break;
    }
  };

  const endsTurn = (data: unknown): boolean => !(isObject(data) && data.mode === "autopilot");

  return {
    ending(data) {
      const turn = queue.current;
      if (turn === undefined || !progress?.submitted || !endsTurn(data)) return undefined;
      const aborted = progress.aborted || (isObject(data) && data.aborted === true);
      return { turn, outcome: outcomeOf({ ...progress, aborted }) };
    },
    get current() {
      return queue.current;
    },
    get waiting() {
      return queue.waiting;
    },
    observe,
    async send(sender, parameters) {
      if (stopped !== undefined) throw stopped;
      const turn = queue.add(newUuid(), sender, parameters, clock.monotonic());
      if (queue.current !== undefined || queue.waiting > 1) {
        try {
          await options.accepted(turn);
        } catch (error) {
          cancelWaiting((one) => one === turn, { kind: "refused", error });
          throw error;
        }
        return { messageId: turn.id, turn };
      }
      const { promise, resolve, reject } = Promise.withResolvers<string>();
      acceptances.set(turn, { resolve, reject });
      pump();
      return { messageId: await promise, turn };
    },
    idle(data) {
      const turn = queue.current;
      if (turn === undefined || !progress?.submitted || !endsTurn(data)) return;
      if (isObject(data) && data.aborted === true) progress.aborted = true;
      if (turn.state.kind === "submitting") progress.idleSeen = true;
      else finish(turn, outcomeOf(progress));
    },
    abort(sender) {
      const aborted = { kind: "aborted", content: "", usage: { inputTokens: 0, outputTokens: 0 } } as const;
      cancelWaiting((turn) => turn.sender === sender, aborted);
      const turn = queue.current;
      if (turn?.sender === sender && progress?.submitted === false) {
        refuse(
          turn,
          new SquadronError("turn_aborted", "The turn was aborted before the runtime had got it."),
        );
        finish(turn, aborted);
      }
      return options.abortUpstream();
    },
    interrupt,
    stop(message) {
      const error = new SquadronError(
        "draining",
        "The node is shutting down and did not begin with this message; send it again.",
      );
      stopped = error;
      cancelWaiting(() => true, { kind: "refused", error });
      interrupt(message);
    },
    get failed() {
      return progress?.error !== undefined;
    },
    get owesError() {
      return progress?.failing === true && progress.error === undefined;
    },
    asks: (sender) => queue.hasUnfinished(sender),
    waits: (sender) => queue.hasUnfinished(sender, queue.current),
  };
};
