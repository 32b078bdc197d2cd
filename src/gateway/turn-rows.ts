import type { Clock } from "../kernel/clock.ts";
import { toSquadronError } from "../kernel/errors.ts";
import type { Turn, TurnOutcome } from "../sessions/turn-queue.ts";
import type { SessionRow, Store, TurnEnd, TurnRow } from "../store/store.ts";
import type { Log } from "../telemetry/log.ts";
import { RpcError } from "../wire/rpc-error.ts";
import type { Connection } from "./vocabulary.ts";

/** What the store knows of a session's turns. Each change is stored before anybody is told of it. */
export interface TurnRows {
  accepted(turn: Turn<Connection>): Promise<void>;
  begun(turn: Turn<Connection>): Promise<void>;
  /** The end of a turn, to be stored with what it has changed; then call `stored`. */
  endOf(turn: Turn<Connection>, outcome: TurnOutcome): TurnEnd;
  stored(turn: Turn<Connection>): void;
  /** Notes an end that no commit has stored: at once if it can be, else before the session's next turn, or when the node starts anew. */
  ended(turn: Turn<Connection>, outcome: TurnOutcome): void;
}

const reasonOf = (outcome: TurnOutcome): string | null => {
  switch (outcome.kind) {
    case "completed":
    case "aborted":
      return null;
    case "failed":
    case "interrupted":
      return outcome.message;
    case "refused":
      return outcome.error instanceof RpcError
        ? outcome.error.message
        : toSquadronError(outcome.error).message;
  }
};

/** Of a one-shot session nothing is written down. */
const none: TurnRows = {
  accepted: async () => undefined,
  begun: async () => undefined,
  endOf: () => {
    throw new Error("Nothing of a one-shot session is stored.");
  },
  stored: () => undefined,
  ended: () => undefined,
};

export const createTurnRows = (options: {
  readonly store: Store;
  readonly clock: Clock;
  readonly log: Log;
  readonly row: SessionRow;
}): TurnRows => {
  const { store, clock, log, row } = options;
  if (row.ephemeral) return none;
  const inserted = new WeakMap<Turn<Connection>, Promise<void>>();
  const stored = new WeakSet<Turn<Connection>>();
  /** Ends that could not be written, no more than a queue can have. */
  let owed: TurnEnd[] = [];

  const payOff = async (): Promise<void> => {
    for (const end of owed) {
      await store.turns.end(end);
      // Others may have been added, or written by another one, meanwhile.
      owed = owed.filter((one) => one !== end);
    }
  };

  const insert = (turn: Turn<Connection>, state: "accepted" | "begun"): Promise<void> => {
    const now = clock.now();
    const made: TurnRow = {
      id: turn.id,
      sessionId: row.id,
      sender: turn.sender.principal.user,
      state,
      acceptedAt: now,
      begunAt: state === "begun" ? now : null,
      endedAt: null,
      runtimeMessageId: null,
      reason: null,
      inputTokens: 0,
      outputTokens: 0,
    };
    const insertion = payOff().then(() => store.turns.insert(made));
    // Before anybody waits: the turn may begin or end meanwhile.
    inserted.set(turn, insertion);
    return insertion;
  };

  const endOf: TurnRows["endOf"] = (turn, outcome) => {
    const usage = "usage" in outcome ? outcome.usage : { inputTokens: 0, outputTokens: 0 };
    return {
      id: turn.id,
      state: outcome.kind,
      endedAt: clock.now(),
      runtimeMessageId: turn.runtimeMessageId ?? null,
      reason: reasonOf(outcome),
      ...usage,
    };
  };

  return {
    accepted: (turn) => insert(turn, "accepted"),
    async begun(turn) {
      const insertion = inserted.get(turn);
      if (insertion === undefined) return insert(turn, "begun");
      await insertion;
      await payOff();
      await store.turns.begin(turn.id, clock.now());
    },
    endOf,
    stored: (turn) => void stored.add(turn),
    ended(turn, outcome) {
      const insertion = inserted.get(turn);
      if (stored.has(turn) || insertion === undefined) return;
      const end = endOf(turn, outcome);
      insertion
        .then(() => store.turns.end(end))
        .catch((error) => {
          owed.push(end);
          log.error({ session: row.id, turn: turn.id, error }, "the end of a turn could not be stored yet");
        });
    },
  };
};
