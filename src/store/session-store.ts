import type { Isolation } from "../kernel/isolation.ts";
import type { RequestKey } from "./turn-store.ts";

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
  /** Is the model told who sends each message? */
  readonly senderNames: boolean;
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
  /** The sessions that a user has founded or takes part in, without ephemeral ones, newest use first. A session that is used between two pages moves to the front. */
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

/** What a session's history does not say of a message. */
export interface KnownMessage {
  /** The id that clients know it by: the runtime's, or the one that it was acknowledged with before it had that. */
  readonly clientId: string;
  /** The user who sent it; null: the session's owner. */
  readonly sender: string | null;
}

/** Only messages of which there is something to be known; commits write them, see `Commit`. */
export interface MessageStore {
  /** By the runtime's id. */
  of(sessionId: string): Promise<ReadonlyMap<string, KnownMessage>>;
  /** The history of `to` is that of `from`: what is known of it is known of both. */
  copy(from: string, to: string): Promise<void>;
}
