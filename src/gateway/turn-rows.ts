import type { Clock } from "../kernel/clock.ts";
import { SquadronError, toSquadronError } from "../kernel/errors.ts";
import { KeyUsed } from "../sessions/key-used.ts";
import { createTurn, type Turn, type TurnOutcome } from "../sessions/turn.ts";
import type { NewTurn, SessionRow, Store, TurnEnd } from "../store/store.ts";
import type { Log } from "../telemetry/log.ts";
import { RpcError } from "../wire/rpc-error.ts";
import type { TurnEnding } from "./turn-vocabulary.ts";
import type { Sender } from "./vocabulary.ts";

/** What the store knows of a session's turns. Each change is stored before anybody is told of it. */
export interface TurnRows {
  accepted(turn: Turn<Sender>): Promise<void>;
  begun(turn: Turn<Sender>): Promise<void>;
  /** Takes over what an earlier holder of the session had promised to run. */
  claim(now: number): Promise<readonly Turn<Sender>[]>;
  endsOf(ending: TurnEnding): readonly TurnEnd[];
  /** Stores ends of turns with what these have changed: whatever is said of them meanwhile counts only if that fails. */
  storeWith(ending: TurnEnding, commit: (ends: readonly TurnEnd[]) => Promise<void>): Promise<void>;
  /**
   * Notes ends that no commit has stored: at once if they can be, else before the session's next turn, or when the node
   * starts anew. Resolves when they are noted.
   */
  ended(ending: TurnEnding): Promise<void>;
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
  claim: async () => [],
  endsOf: () => [],
  storeWith: (_ending, commit) => commit([]),
  ended: async () => undefined,
};

export const createTurnRows = (options: {
  readonly store: Store;
  readonly clock: Clock;
  readonly log: Log;
  readonly row: SessionRow;
}): TurnRows => {
  const { store, clock, log, row } = options;
  if (row.ephemeral) return none;
  const inserted = new WeakMap<Turn<Sender>, Promise<void>>();
  /** The store has been asked for a row, so there may be one. */
  const asked = new WeakSet<Turn<Sender>>();
  /** Ends that have been or are being stored with a commit: has it been? */
  const committed = new WeakMap<Turn<Sender>, Promise<boolean>>();
  /** Ends that could not be written. While there are any no row is made, so they are no more than a queue can have. */
  let owed: TurnEnd[] = [];

  const payOff = async (): Promise<void> => {
    for (const end of owed) {
      await store.turns.end(end);
      // Others may have been added, or written by another one, meanwhile.
      owed = owed.filter((one) => one !== end);
    }
  };

  const insert = (turn: Turn<Sender>, state: "accepted" | "begun"): Promise<void> => {
    const now = clock.now();
    const made: NewTurn = {
      id: turn.id,
      sessionId: row.id,
      sender: turn.sender.principal.user,
      state,
      acceptedAt: now,
      begunAt: state === "begun" ? now : null,
      ...(turn.key !== undefined && { key: turn.key }),
      ...(state === "accepted" && turn.promised && { parameters: JSON.stringify(turn.parameters) }),
    };
    const insertion = payOff().then(async () => {
      asked.add(turn);
      if (await store.turns.insert(made)) return;
      inserted.delete(turn);
      throw new KeyUsed();
    });
    // Before anybody waits: the turn may begin or end meanwhile.
    inserted.set(turn, insertion);
    return insertion;
  };

  const endOf = (turn: Turn<Sender>, outcome: TurnOutcome, joined: string | null): TurnEnd => ({
    id: turn.id,
    state: outcome.kind,
    endedAt: clock.now(),
    runtimeMessageId: turn.runtimeMessageId ?? null,
    reason: reasonOf(outcome),
    content: "content" in outcome ? outcome.content : null,
    joined,
    // What a turn has cost counts once, whoever spoke in it.
    ...("usage" in outcome && joined === null ? outcome.usage : { inputTokens: 0, outputTokens: 0 }),
  });

  const endsOf: TurnRows["endsOf"] = ({ turn, joined, outcome }) => [
    endOf(turn, outcome, null),
    ...joined.map((one) => endOf(one, outcome, turn.id)),
  ];

  const endLater = async (turn: Turn<Sender>, end: TurnEnd): Promise<void> => {
    try {
      await inserted.get(turn);
      await store.turns.end(end);
    } catch (error) {
      if (!asked.has(turn)) return;
      owed.push(end);
      log.error({ session: row.id, turn: turn.id, error }, "the end of a turn could not be stored yet");
    }
  };

  return {
    accepted: (turn) => inserted.get(turn) ?? insert(turn, "accepted"),
    async begun(turn) {
      const insertion = inserted.get(turn);
      if (insertion === undefined) return insert(turn, "begun");
      await insertion;
      await payOff();
      if (!(await store.turns.begin(turn.id, clock.now())))
        throw new SquadronError(
          "fenced",
          "Another node has taken this session over, or it has been deleted.",
        );
    },
    async claim(now) {
      const rows = await store.turns.claim(row.id, clock.now());
      return rows.map(({ id, sender, parameters }) => {
        const turn = createTurn<Sender>({
          id,
          sender: { id: "former", principal: { tenant: row.tenant, user: sender }, open: false },
          parameters: JSON.parse(parameters),
          queuedAt: now,
          promised: true,
        });
        inserted.set(turn, Promise.resolve());
        asked.add(turn);
        return turn;
      });
    },
    endsOf,
    async storeWith(ending, commit) {
      const stored = commit(endsOf(ending));
      const done = stored.then(
        () => true,
        () => false,
      );
      for (const one of [ending.turn, ...ending.joined]) committed.set(one, done);
      await stored;
    },
    async ended(ending) {
      const turns = [ending.turn, ...ending.joined];
      await Promise.all(
        endsOf(ending).map(async (end, at) => {
          const turn = turns[at];
          if (turn === undefined || !inserted.has(turn)) return;
          if (!(await committed.get(turn))) await endLater(turn, end);
        }),
      );
    },
  };
};
