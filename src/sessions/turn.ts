import { SquadronError } from "../kernel/errors.ts";
import type { RequestKey } from "../store/store.ts";

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

/** Of a turn that was dropped before a runtime had got its message. */
export const abortedUnbegun: TurnOutcome = {
  kind: "aborted",
  content: "",
  usage: { inputTokens: 0, outputTokens: 0 },
};

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
  /** The client's name for the request that it comes from. */
  readonly key?: RequestKey | undefined;
  /** Monotonic milliseconds. */
  readonly queuedAt: number;
  readonly state: TurnState;
  /** The runtime's id of its message, once it has taken it. */
  readonly runtimeMessageId: string | undefined;
  /** Its sender has been or is about to be told that it will run, and need not stay for that. */
  promised: boolean;
  readonly ended: Promise<TurnOutcome>;
  change(change: TurnChange): void;
}

export const createTurn = <Sender>(given: {
  readonly id: string;
  readonly sender: Sender;
  readonly parameters: Readonly<Record<string, unknown>>;
  readonly queuedAt: number;
  readonly key?: RequestKey | undefined;
  readonly promised?: boolean;
}): Turn<Sender> => {
  const { promise: ended, resolve } = Promise.withResolvers<TurnOutcome>();
  let state: TurnState = { kind: "queued" };
  let runtimeMessageId: string | undefined;
  return {
    ...given,
    promised: given.promised ?? false,
    ended,
    get state() {
      return state;
    },
    get runtimeMessageId() {
      return runtimeMessageId;
    },
    change(change) {
      state = nextTurnState(state, change);
      if (state.kind === "running") runtimeMessageId = state.runtimeMessageId;
      if (state.kind === "ended") resolve(state.outcome);
    },
  };
};
