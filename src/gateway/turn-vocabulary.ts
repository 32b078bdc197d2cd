import type { Clock } from "../kernel/clock.ts";
import type { SquadronError } from "../kernel/errors.ts";
import type { Turn, TurnOutcome } from "../sessions/turn.ts";
import type { TurnPlace } from "./turn-places.ts";
import type { Sender, Sending, SentMessage } from "./vocabulary.ts";

/** Monotonic milliseconds. */
export interface TurnTimes {
  readonly queuedAt: number;
  readonly startedAt: number;
  readonly firstTokenAt: number | undefined;
  readonly endedAt: number;
}

/** A turn that ends, with the messages that were delivered into it. */
export interface TurnEnding {
  readonly turn: Turn<Sender>;
  readonly joined: readonly Turn<Sender>[];
  readonly outcome: TurnOutcome;
}

export type SendManner = Pick<Sending, "answer" | "key" | "onTurn">;

export interface TurnRunnerOptions {
  readonly clock: Clock;
  readonly queueLength: number;
  readonly turnTimeoutMs: number;
  /** Throws when this sender may not, or not any more, have a message given to the runtime. */
  assertMaySend(sender: Sender): void;
  /** A place to run a turn of this sender in, now or later, see `TurnPlaces`. */
  place(sender: Sender, onHeld: () => void): TurnPlace;
  /** Notes that a message has been taken and must wait. If it is promised, it is acknowledged after that. */
  accepted(turn: Turn<Sender>): Promise<void>;
  /** Notes that a turn begins. It does after that. */
  begun(turn: Turn<Sender>): Promise<void>;
  /** Notes that a message is about to be delivered into the running turn. It is after that. */
  steering(turn: Turn<Sender>): Promise<void>;
  /**
   * Gives a message of this sender to the runtime; resolves with the runtime's id of it. Calls `taking` when nothing need be waited for
   * any more; it throws when the message must not be given.
   */
  submit(parameters: Readonly<Record<string, unknown>>, taking: () => void, sender: Sender): Promise<string>;
  /** Aborts what the runtime does. Calls `taking` as `submit` does. */
  abortUpstream(taking: () => void): Promise<unknown>;
  /** Does the runtime do anything in this session? Rejects when it cannot be asked. */
  isProcessing(): Promise<boolean>;
  /** Resolves when no event of the runtime that has come is still to be taken in. */
  eventsTakenIn(): Promise<void>;
  /** The runtime does nothing any more and has not told the end of the running turn: that is to be told for it. */
  onEndLost(aborted: boolean): void;
  /** The runtime has named a message, which its sender knows by `clientMessageId`. */
  onNamed(turn: Turn<Sender>, runtimeMessageId: string, clientMessageId: string): void;
  /** A turn that has ended for its client goes on in the runtime. */
  onStuck(): void;
  /** A message that had an id of ours could not be given to the runtime. */
  onRefused(turn: Turn<Sender>, error: unknown): void;
  onEnd(ending: TurnEnding, times: TurnTimes): void;
  /** A message that waited, or was to be delivered into a turn, has been dropped; its turn has never begun. Resolves when that is stored. */
  onCancelled(turn: Turn<Sender>, outcome: TurnOutcome): Promise<void>;
}

/** Sends the messages of one session upstream, one turn at a time, and tells by the events how each went. */
export interface TurnRunner {
  readonly current: Turn<Sender> | undefined;
  /** In the order in which they would run. */
  readonly waiting: readonly Turn<Sender>[];
  /** `first`: before all that wait. Rejects with `queue_full`, and with `draining` when the node closes. */
  send(
    sender: Sender,
    parameters: Readonly<Record<string, unknown>>,
    how: SendManner,
    first?: boolean,
  ): Promise<SentMessage>;
  /** Delivers the message into the running turn; into none, it is sent. */
  steer(sender: Sender, parameters: Readonly<Record<string, unknown>>, how: SendManner): Promise<SentMessage>;
  /** Takes in messages that an earlier holder of the session had promised to run. */
  restore(turns: readonly Turn<Sender>[]): void;
  /** A turn that has not ended. */
  find(id: string): Turn<Sender> | undefined;
  /** Takes in an event, `agentId`: of a sub-agent, before it is passed on. */
  observe(type: string, data: unknown, agentId?: unknown): void;
  /** What an idle with this data ends, and how. */
  ending(data: unknown): TurnEnding | undefined;
  /** Takes in the end of a turn after it was passed on. */
  idle(data: unknown): void;
  /**
   * Drops those turns that wait or are just about to be given to the runtime, and aborts what runs; what it ends. Resolves
   * when no other node will run what was dropped.
   */
  abort(which: (turn: Turn<Sender>) => boolean): Promise<readonly Turn<Sender>[]>;
  /** The runtime has taken back the last of the messages that were to be delivered into the running turn, or all. */
  unsteered(which: "last" | "all"): void;
  /** The runtime has gone. */
  interrupt(message: string): void;
  /** The node is closing: the running turn is interrupted, others are refused unless they are promised, and so is every later one. */
  stop(message: string): void;
  /** The session is no more: the running turn is interrupted, and all others are refused for that reason. */
  end(message: string, error: SquadronError): void;
  /** Would an end now be that of a turn of this sender? `end`: how, if its events do not tell. */
  serves(sender: Sender, end?: TurnOutcome["kind"]): boolean;
  /** Has this sender another turn, that would not have ended then? */
  waits(sender: Sender, end?: TurnOutcome["kind"]): boolean;
  /** Has this sender any turn that has not ended? */
  asks(sender: Sender): boolean;
  /** Turns of which no runtime has said that it has their message. */
  readonly toRun: readonly Turn<Sender>[];
  /** Has a `session.error` of the running turn come? */
  readonly failed: boolean;
  /** Must a `session.error` of the running turn still come? */
  readonly owesError: boolean;
}
