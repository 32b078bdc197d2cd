import type { Role } from "../kernel/principal.ts";
import type { ParticipantStore } from "./participant-store.ts";
import type { MessageStore, SessionStore } from "./session-store.ts";
import type { StateStore } from "./state-store.ts";
import type { RequestKeyStore, TurnStore } from "./turn-store.ts";

export * from "./participant-store.ts";
export type * from "./session-store.ts";
export type * from "./state-store.ts";
export type * from "./turn-store.ts";

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

/** A browser that has signed in with a key. */
export interface BrowserSessionRow {
  /** SHA-256 of the token in its cookie, hexadecimal; the token itself is nowhere. */
  readonly hash: string;
  readonly keyId: string;
  /** Says, together with the token, with which key it was. */
  readonly keyProof: string;
  readonly tenant: string;
  readonly user: string;
  readonly createdAt: number;
  readonly expiresAt: number;
}

export interface BrowserSessionStore {
  /** Of one user's the newest `most` stay, this one among them; the hashes of the others, which are removed. */
  insert(row: BrowserSessionRow, most: number): Promise<readonly string[]>;
  byHash(hash: string): Promise<BrowserSessionRow | undefined>;
  /** False if there is none. */
  remove(hash: string): Promise<boolean>;
  /** Removes so many at most that had expired by then; how many it were. */
  removeExpired(at: number, limit: number): Promise<number>;
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
  readonly participants: ParticipantStore;
  readonly messages: MessageStore;
  readonly state: StateStore;
  readonly turns: TurnStore;
  readonly requestKeys: RequestKeyStore;
  readonly tokens: TokenStore;
  readonly leases: LeaseStore;
  readonly keys: KeyStore;
  readonly browserSessions: BrowserSessionStore;
  readonly audit: AuditStore;
  /** Resolves when the store can be written. */
  ping(): Promise<void>;
  close(): Promise<void>;
}
