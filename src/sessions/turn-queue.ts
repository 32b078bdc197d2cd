import { SquadronError } from "../kernel/errors.ts";

export interface Usage {
  readonly inputTokens: number;
  readonly outputTokens: number;
}

export type TurnOutcome =
  | { readonly kind: "completed"; readonly content: string; readonly usage: Usage }
  | {
      readonly kind: "failed";
      readonly reason: "error" | "timeout";
      readonly message: string;
      readonly content: string;
      readonly usage: Usage;
    }
  | { readonly kind: "aborted"; readonly content: string; readonly usage: Usage }
  | { readonly kind: "interrupted"; readonly message: string }
  | { readonly kind: "refused"; readonly error: unknown };

export type TurnState =
  | { readonly kind: "queued" }
  | { readonly kind: "submitting" }
  | { readonly kind: "running"; readonly runtimeMessageId: string }
  | { readonly kind: "ended"; readonly outcome: TurnOutcome };

export type TurnChange =
  | { readonly kind: "submit" }
  | { readonly kind: "accepted"; readonly runtimeMessageId: string }
  | { readonly kind: "end"; readonly outcome: TurnOutcome };

/** The one transition function of a turn. A change that the state does not allow is a bug of ours. */
export const nextTurnState = (state: TurnState, change: TurnChange): TurnState => {
  switch (change.kind) {
    case "submit":
      if (state.kind === "queued") return { kind: "submitting" };
      break;
    case "accepted":
      if (state.kind === "submitting") return { kind: "running", runtimeMessageId: change.runtimeMessageId };
      break;
    case "end":
      if (state.kind !== "ended") return { kind: "ended", outcome: change.outcome };
      break;
  }
  throw new SquadronError("internal", `A turn that is ${state.kind} cannot ${change.kind}.`);
};

/** One user message of a session and all that follows until the session is idle. */
export interface Turn<Sender> {
  readonly id: string;
  readonly sender: Sender;
  readonly parameters: Readonly<Record<string, unknown>>;
  readonly queuedAt: number;
  state: TurnState;
  /** The runtime's id of its message, once it has taken it. */
  runtimeMessageId: string | undefined;
  readonly ended: Promise<TurnOutcome>;
}

/** First in, first out, one at a time. Never two plain sends of one session upstream at once. */
export interface TurnQueue<Sender> {
  /** Rejects with `queue_full` when `limit` turns already wait. */
  add(id: string, sender: Sender, parameters: Readonly<Record<string, unknown>>, now: number): Turn<Sender>;
  /** The turn that is submitting or running. */
  readonly current: Turn<Sender> | undefined;
  readonly waiting: number;
  /** Makes the first waiting turn the current one, if none is current. */
  begin(): Turn<Sender> | undefined;
  accepted(turn: Turn<Sender>, runtimeMessageId: string): void;
  end(turn: Turn<Sender>, outcome: TurnOutcome): void;
  /** Ends waiting turns that the predicate names, and gives them back; the current one is not touched. */
  cancelWaiting(which: (turn: Turn<Sender>) => boolean, outcome: TurnOutcome): readonly Turn<Sender>[];
  /** Has this sender a turn, other than `except`, that has not ended? */
  hasUnfinished(sender: Sender, except?: Turn<Sender>): boolean;
}

export const createTurnQueue = <Sender>(limit: number): TurnQueue<Sender> => {
  const waiting: Turn<Sender>[] = [];
  let current: Turn<Sender> | undefined;
  const settlers = new WeakMap<Turn<Sender>, (outcome: TurnOutcome) => void>();

  return {
    get current() {
      return current;
    },
    get waiting() {
      return waiting.length;
    },
    add(id, sender, parameters, now) {
      if (waiting.length >= limit) {
        throw new SquadronError(
          "queue_full",
          `${limit} messages already wait in this session; try again when one has been answered.`,
          {
            details: { limit },
          },
        );
      }
      const { promise, resolve } = Promise.withResolvers<TurnOutcome>();
      const turn: Turn<Sender> = {
        id,
        sender,
        parameters,
        queuedAt: now,
        state: { kind: "queued" },
        runtimeMessageId: undefined,
        ended: promise,
      };
      settlers.set(turn, resolve);
      waiting.push(turn);
      return turn;
    },
    begin() {
      if (current !== undefined) return undefined;
      current = waiting.shift();
      if (current !== undefined) current.state = nextTurnState(current.state, { kind: "submit" });
      return current;
    },
    accepted(turn, runtimeMessageId) {
      turn.state = nextTurnState(turn.state, { kind: "accepted", runtimeMessageId });
      turn.runtimeMessageId = runtimeMessageId;
    },
    end(turn, outcome) {
      turn.state = nextTurnState(turn.state, { kind: "end", outcome });
      if (current === turn) current = undefined;
      settlers.get(turn)?.(outcome);
    },
    cancelWaiting(which, outcome) {
      const cancelled = waiting.filter(which);
      for (const turn of cancelled) {
        waiting.splice(waiting.indexOf(turn), 1);
        turn.state = nextTurnState(turn.state, { kind: "end", outcome });
        settlers.get(turn)?.(outcome);
      }
      return cancelled;
    },
    hasUnfinished(sender, except) {
      return (
        (current !== undefined && current !== except && current.sender === sender) ||
        waiting.some((turn) => turn !== except && turn.sender === sender)
      );
    },
  };
};
