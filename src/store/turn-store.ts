export type EndedTurnState = "completed" | "failed" | "aborted" | "interrupted" | "refused";

/** A turn as a fact. Times are milliseconds since 1970. */
export interface TurnRow {
  readonly id: string;
  readonly sessionId: string;
  /** The user who asked. */
  readonly sender: string;
  readonly state: "accepted" | "begun" | EndedTurnState;
  readonly acceptedAt: number;
  readonly begunAt: number | null;
  readonly endedAt: number | null;
  /** The runtime's id of its message, once known. */
  readonly runtimeMessageId: string | null;
  /** Why it did not complete. */
  readonly reason: string | null;
  readonly inputTokens: number;
  readonly outputTokens: number;
  /** What the model said at last, once it has ended. */
  readonly content: string | null;
  /** The turn that this message was delivered into, and whose answer is its own. */
  readonly joined: string | null;
}

/** A client's name for a request, under which that has an effect once. Times are milliseconds since 1970. */
export interface RequestKey {
  readonly tenant: string;
  readonly user: string;
  readonly key: string;
  /** Of what is asked. */
  readonly hash: string;
  readonly at: number;
  /** Uses before that are forgotten. */
  readonly notBefore: number;
}

/** What a request with a key was, and what has come of it: a session, or a turn in one. */
export interface RequestKeyUse {
  readonly hash: string;
  readonly sessionId: string;
  readonly turnId: string | null;
}

export interface RequestKeyStore {
  find(key: Pick<RequestKey, "tenant" | "user" | "key" | "notBefore">): Promise<RequestKeyUse | undefined>;
  /** Forgets up to `limit` uses before that time, the oldest first; how many. */
  removeBefore(at: number, limit: number): Promise<number>;
}

export interface NewTurn extends Pick<TurnRow, "id" | "sessionId" | "sender" | "acceptedAt" | "begunAt"> {
  readonly state: "accepted" | "begun";
  /** The client's name for the request that it comes from. */
  readonly key?: RequestKey;
  /** Of an accepted message that runs whatever becomes of its sender and of this node: what it says, in JSON. */
  readonly parameters?: string;
}

/** A message that somebody was promised would be run, and that has not begun. */
export interface WaitingTurn extends Pick<TurnRow, "id" | "sender" | "acceptedAt"> {
  readonly parameters: string;
}

export interface TurnEnd
  extends Pick<
    TurnRow,
    "id" | "runtimeMessageId" | "reason" | "inputTokens" | "outputTokens" | "content" | "joined"
  > {
  readonly state: EndedTurnState;
  readonly endedAt: number;
}

export interface TurnStore {
  /**
   * The newest 1,000 of a session are kept, and all that have not ended or have a request's key. Rejects with
   * `session_deleted` when there is no such session. False, and nothing happens, when its key has been used.
   */
  insert(turn: NewTurn): Promise<boolean>;
  /** False, and nothing happens, when it has ended, is not this node's any more, or went with its session. */
  begin(id: string, at: number): Promise<boolean>;
  /** The end of a turn of this node that changed no file; of one that has ended already nothing is changed. */
  end(end: TurnEnd): Promise<void>;
  byId(sessionId: string, id: string): Promise<TurnRow | undefined>;
  /** The last accepted first; `before` is the last one of the page before. */
  list(sessionId: string, page: { limit: number; before?: Pick<TurnRow, "id"> }): Promise<readonly TurnRow[]>;
  /**
   * Takes over what nodes that live no more were promised to run in this session and had not begun; in the order in
   * which it was accepted.
   */
  claim(sessionId: string, at: number): Promise<readonly WaitingTurn[]>;
  /** Sessions in which there is something to claim, by id, after this one. */
  claimable(page: { at: number; limit: number; after?: string }): Promise<readonly string[]>;
  /**
   * Ends what nodes that live no more (see `LeaseStore`) had begun as `interrupted`, and messages that nobody was
   * promised would run as `refused`; how many. Should such a node wake up again, it can commit nothing to these sessions, and holds nothing.
   */
  settleAll(at: number): Promise<number>;
}
