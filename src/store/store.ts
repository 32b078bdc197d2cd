import type { Isolation } from "../kernel/isolation.ts";
import type { Role } from "../kernel/principal.ts";

/** A session as the store holds it. Times are milliseconds since 1970. */
export interface SessionRow {
  /** What runtimes see: a random UUID. */
  readonly id: string;
  /** What HTTP clients see, the same for all who take part. */
  readonly publicId: string;
  readonly tenant: string;
  readonly owner: string;
  /** Key of the isolation unit that it lives in. */
  readonly unit: string;
  readonly isolation: Isolation;
  readonly createdAt: number;
  readonly updatedAt: number;
  readonly lastUsedAt: number;
  readonly title: string | null;
  /** JSON text: what it must be resumed with, without secrets. */
  readonly record: string;
  /** Has it ever been created in a runtime? */
  readonly createdUpstream: boolean;
  readonly ephemeral: boolean;
  readonly visibility: "private" | "shared";
  readonly inputTokens: number;
  readonly outputTokens: number;
  /** Milliseconds that it may lie unused; null: as the tenant's policy says. */
  readonly ttlMs: number | null;
  /** Of all its files. */
  readonly sizeBytes: number;
}

/** A session before anything was committed. */
export type NewSession = Omit<SessionRow, "sizeBytes">;

export type SessionPatch = Partial<
  Pick<
    SessionRow,
    "title" | "record" | "lastUsedAt" | "createdUpstream" | "unit" | "isolation" | "visibility" | "ttlMs"
  >
>;

export type SessionRole = "owner" | "writer" | "reader";

/** A session with the name that one user knows it by. */
export interface OwnedSession extends SessionRow {
  readonly name: string;
  readonly role: SessionRole;
}

export interface SessionName {
  readonly tenant: string;
  readonly user: string;
  readonly name: string;
  readonly role: SessionRole;
}

export interface Page<Item> {
  readonly sessions: readonly Item[];
  /** Cursor of the next page; absent on the last one. */
  readonly next?: string;
}

/** When a session was last used, and tokens to be added to its count. */
export interface SessionUse {
  readonly id: string;
  readonly at: number;
  readonly inputTokens: number;
  readonly outputTokens: number;
}

/** Which sessions have lain unused for too long. Times are milliseconds. */
export interface ExpiryQuery {
  readonly now: number;
  /** For sessions without a time of their own whose tenant has none either. */
  readonly defaultTtlMs: number;
  /** By tenant. */
  readonly tenantTtlMs: Readonly<Record<string, number>>;
  readonly limit: number;
  /** Only this tenant's. */
  readonly tenant?: string;
}

/**
 * Tenant, user and name are any text that a client chose. What SQL would change or compare otherwise
 * (lone surrogates, over 300 characters, empty) is `invalid_request` when written and not found when read.
 */
export interface SessionStore {
  /** The session and its owner's name for it, both or none. */
  create(row: NewSession, name: string, key?: RequestKey): Promise<"created" | "name_taken" | "key_used">;
  byName(tenant: string, user: string, name: string): Promise<OwnedSession | undefined>;
  /** Only a session that this user has a name for. */
  byPublicId(publicId: string, tenant: string, user: string): Promise<OwnedSession | undefined>;
  byId(id: string): Promise<SessionRow | undefined>;
  /** A user's sessions without ephemeral ones, newest use first. A session that is used between two pages moves to the front. */
  list(tenant: string, user: string, page: { cursor?: string; limit: number }): Promise<Page<OwnedSession>>;
  /** Every session with its owner's name, newest first. */
  listAll(page: { cursor?: string; limit: number; tenant?: string }): Promise<Page<OwnedSession>>;
  counts(): Promise<
    readonly { readonly tenant: string; readonly isolation: Isolation; readonly sessions: number }[]
  >;
  namesOf(id: string): Promise<readonly SessionName[]>;
  /**
   * Nothing happens when the session has been deleted meanwhile. With an `epoch`, rejects with `fenced` when that is not
   * the newest: what a holder says of its session counts as long as it may commit.
   */
  update(id: string, patch: SessionPatch, epoch?: number): Promise<void>;
  rename(
    tenant: string,
    user: string,
    from: string,
    to: string,
  ): Promise<"renamed" | "name_taken" | "not_found">;
  /** Notes the use of sessions, all in one transaction. Nothing happens for one that has been deleted meanwhile. */
  used(uses: readonly SessionUse[]): Promise<void>;
  /**
   * Removes all rows of the session, its files and turns, and the files of a unit that was its alone (isolation
   * `session`); false if there was none. Users with a name for it are remembered for `wasDeleted`.
   */
  delete(id: string): Promise<boolean>;
  /** Had this user that session, and is it deleted? Known of the newest 100,000; never of ephemeral ones. */
  wasDeleted(publicId: string, tenant: string, user: string): Promise<boolean>;
  ephemerals(): Promise<readonly SessionRow[]>;
  anyInUnit(unit: string): Promise<boolean>;
  /** Sessions that were last used longer ago than they may lie, with their owner's name, longest unused first. Never ephemeral ones. */
  expired(query: ExpiryQuery): Promise<readonly OwnedSession[]>;
  /** How many sessions a tenant has, or one of its users owns, without ephemeral ones. */
  countOf(tenant: string, user?: string): Promise<number>;
}

/** Ids of messages where a client knows another one than the runtime. */
export interface MessageIdStore {
  /** Nothing happens when the session has been deleted meanwhile. */
  put(sessionId: string, runtimeId: string, clientId: string): Promise<void>;
  /** Client's id by runtime's id. */
  of(sessionId: string): Promise<ReadonlyMap<string, string>>;
}

export interface KeyRow {
  readonly id: string;
  /** SHA-256 of the key, hexadecimal; the key itself is nowhere. */
  readonly hash: string;
  readonly tenant: string;
  readonly user: string;
  readonly roles: readonly Role[];
  readonly label: string;
  readonly createdAt: number;
  readonly lastUsedAt: number | null;
  readonly revokedAt: number | null;
}

export interface KeyStore {
  insert(row: KeyRow): Promise<void>;
  /** Revoked ones too. */
  byHash(hash: string): Promise<KeyRow | undefined>;
  byId(id: string): Promise<KeyRow | undefined>;
  /** Newest first, revoked ones too. */
  list(options: { tenant?: string; limit: number }): Promise<readonly KeyRow[]>;
  /** Is there a key that is not revoked? */
  any(): Promise<boolean>;
  used(id: string, at: number): Promise<void>;
  /** False if there is no such key or it is revoked already. */
  revoke(id: string): Promise<boolean>;
}

export interface AuditEntry {
  /** Grows with time. */
  readonly id: number;
  readonly at: number;
  readonly tenant: string;
  readonly user: string;
  readonly action: string;
  readonly target: string;
  readonly outcome: string;
  readonly detail: string | null;
}

export interface AuditStore {
  /** All in one transaction. The newest 100,000 entries are kept. */
  append(...entries: readonly Omit<AuditEntry, "id">[]): Promise<void>;
  /** Newest first; `before` is the id of the last entry of the page before. */
  list(options: { tenant?: string; limit: number; before?: number }): Promise<readonly AuditEntry[]>;
}

/** Whose files: those of a session (its directory in a runtime's `session-state`), or of a unit (settings, working directory). */
export type FileScope =
  | { readonly kind: "session"; readonly id: string }
  | { readonly kind: "unit"; readonly key: string };

/** A file as the store has it. */
export interface StoredFile {
  readonly kind: "file";
  readonly path: string;
  /** Permission bits. */
  readonly mode: number;
  readonly bytes: Uint8Array;
}

/** What lies at a path. What is in a directory has entries of its own, and need not have one for the directory. */
export type StoredEntry =
  | StoredFile
  | { readonly kind: "directory"; readonly path: string; readonly mode: number }
  /** Its text, which may lead anywhere: nobody follows it here. */
  | { readonly kind: "link"; readonly path: string; readonly target: string };

/**
 * An entry comes in place of what had its path; what was below that goes by changes of its own. Paths are relative with
 * `/` between their parts, and never lead out: another one is refused with `internal`.
 */
export type FileChange =
  | StoredEntry
  | {
      readonly kind: "append";
      readonly path: string;
      /** The size of the file as stored; for any other, and for what is not there or no file, the commit is refused. */
      readonly at: number;
      readonly bytes: Uint8Array;
    }
  | { readonly kind: "remove"; readonly path: string };

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

/** What a session has changed since `version`, to be stored whole or not at all. */
export interface Commit {
  readonly sessionId: string;
  readonly epoch: number;
  readonly version: number;
  readonly files: readonly FileChange[];
  /** Of all the session's files after it. What is above it already may still shrink. */
  readonly maxBytes: number;
  /** Changes of the unit that the session lives in. */
  readonly unit?: Pick<UnitCommit, "key" | "epoch" | "files" | "maxBytes">;
  /** What the session is resumed with from then on. */
  readonly record?: Required<Pick<SessionPatch, "record" | "createdUpstream">> & { readonly at: number };
  /** Turns that end with it: one, and what was delivered into it. */
  readonly turns?: readonly TurnEnd[];
}

/** What was changed in a unit's files outside any of its sessions, to be stored whole or not at all. */
export interface UnitCommit {
  readonly key: string;
  /** Of the runtime that has its files; absent when none has. */
  readonly epoch?: number;
  /** Whose it is. */
  readonly tenant: string;
  readonly isolation: Isolation;
  readonly files: readonly FileChange[];
  /** As for sessions. */
  readonly maxBytes: number;
}

/** Bytes of files that a tenant has in the store. */
export interface TenantUsage {
  readonly tenant: string;
  readonly sessionBytes: number;
  readonly unitBytes: number;
}

export interface StateStore {
  /**
   * Begins a new epoch of the session: from now on only it may commit, and turns that an older one had begun are
   * `interrupted`, all but `keepTurn`, in one transaction. Undefined when there is no such session.
   */
  acquire(
    sessionId: string,
    at: number,
    keepTurn?: string,
  ): Promise<{ epoch: number; version: number } | undefined>;
  /** The newest epoch of a session, and how many of its commits there are. */
  newest(sessionId: string): Promise<{ epoch: number; version: number } | undefined>;
  /**
   * In one transaction, which also ends the turns that have not ended already. When it rejects, nothing is stored: `fenced`
   * (epoch or version are not the newest, or the session is deleted), `too_large` (details: `limit` and `size` in bytes,
   * `scope`), `internal` (the changes do not fit what is stored), `store_unavailable`.
   */
  commit(commit: Commit): Promise<{ version: number; sizeBytes: number }>;
  /** Begins a new epoch of the unit: what carries an older one can change its files no more. */
  acquireUnit(key: string): Promise<number>;
  /** The same for a unit alone, in one transaction: rejects with `fenced`, `too_large`, `internal` or `store_unavailable`. */
  commitUnit(commit: UnitCommit): Promise<void>;
  /** All entries, by path: a directory before what is in it. Files are verified by their checksums: `internal` when one does not match. */
  files(scope: FileScope): Promise<readonly StoredEntry[]>;
  /** One file of them, alone; undefined when there is none at this path. */
  file(scope: FileScope, path: string): Promise<StoredFile | undefined>;
  /** By tenant. */
  usage(): Promise<readonly TenantUsage[]>;
  /** Removes the files of up to `limit` units that were one session's alone (isolation `session`) and have none any more; how many. */
  removeOrphans(limit: number): Promise<number>;
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

/** A node as a holder of leases. Times are milliseconds since 1970. */
export interface LeaseHolder {
  /** Of one process. */
  readonly holder: string;
  /** So long it counts as alive. */
  readonly until: number;
}

/**
 * Who holds which name, and who waits for it in which order: the leases of `coordination/` for nodes that share this store.
 * What a holder holds, its places in lines and the turns that it has begun count as long as it lives.
 */
export interface LeaseStore {
  /** Notes a new node; an earlier one on the same state directory is no more, nor is anything that it held. */
  enter(node: LeaseHolder & { readonly directory: string }): Promise<void>;
  /** Takes the name, or a place in its line, which the same token keeps; whoever is before it lives `until` then. */
  take(
    claim: LeaseHolder & { readonly name: string; readonly token: string; readonly now: number },
  ): Promise<{ readonly kind: "taken" } | { readonly kind: "held"; readonly until: number }>;
  /** The holder lives; what it still holds. */
  renew(life: LeaseHolder): Promise<readonly { readonly name: string; readonly token: string }[]>;
  /** Gives up the lease or the place in line of this token, if it has either. */
  drop(claim: { readonly name: string; readonly token: string }): Promise<void>;
  /** The holder is no more. */
  forget(holder: string): Promise<void>;
  /** Calls back when this process has given up a name; the returned function ends that. */
  onFreed(listener: (name: string) => void): () => void;
}

/** A user on one day, counted from 1970, UTC. */
export interface TokenDay {
  readonly day: number;
  readonly tenant: string;
  readonly user: string;
}

/** Tokens of one day: of all users of a tenant, and of one of them. */
export interface TokenTotals {
  readonly tenant: number;
  readonly user: number;
}

/** How many tokens were used on each day. Days before the last two are forgotten. */
export interface TokenStore {
  /** What is then used of that day. It waits for no disk: a power cut may take the last of it back. */
  add(which: TokenDay, tokens: number): Promise<TokenTotals>;
  of(which: TokenDay): Promise<TokenTotals>;
}

/** The truth of a node. What a promise of it has resolved is on disk. Failures of the database are `store_unavailable`. */
export interface Store {
  readonly sessions: SessionStore;
  readonly messageIds: MessageIdStore;
  readonly state: StateStore;
  readonly turns: TurnStore;
  readonly requestKeys: RequestKeyStore;
  readonly tokens: TokenStore;
  readonly leases: LeaseStore;
  readonly keys: KeyStore;
  readonly audit: AuditStore;
  /** Resolves when the store can be written. */
  ping(): Promise<void>;
  close(): Promise<void>;
}
