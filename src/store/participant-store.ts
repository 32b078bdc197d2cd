import type { SessionRole } from "./session-store.ts";

/** Somebody who takes part in a session. The founder, whose unit runs it, is one of its owners. */
export interface Participant {
  readonly user: string;
  /** The user's own name for the session. */
  readonly name: string;
  readonly role: SessionRole;
}

/** What a link may make of somebody who follows it. */
export type InvitedRole = "writer" | "reader";

/** A right to join a session for whoever has its token. Times are milliseconds since 1970. */
export interface InviteRow {
  readonly id: string;
  readonly sessionId: string;
  readonly role: InvitedRole;
  readonly usesLeft: number;
  readonly expiresAt: number;
  /** The user who made it. */
  readonly createdBy: string;
  readonly createdAt: number;
}

export interface NewInvite extends InviteRow {
  /** SHA-256 of the token, hexadecimal; the token itself is nowhere. */
  readonly hash: string;
}

/** What has come of a grant. `before`: the role that the user had. */
export type Granted =
  | { readonly kind: "granted"; readonly participant: Participant; readonly before: SessionRole | undefined }
  | { readonly kind: "founder" | "full" | "no_session" };

export type Revoked =
  | { readonly kind: "revoked"; readonly participant: Participant }
  | { readonly kind: "founder" | "no_participant" };

/** What has come of following an invite. `already`: the user took part before, which spends no use. */
export type Accepted =
  | { readonly kind: "joined"; readonly invite: InviteRow; readonly participant: Participant }
  | { readonly kind: "already"; readonly participant: Participant }
  | { readonly kind: "full" }
  | { readonly kind: "invalid" };

/** Most users who take part in one session, its founder included. */
export const maxParticipants = 1_000;
/** Most invites of one session that can still be used. */
export const maxOpenInvites = 100;

/** Who takes part in which session as what, and who may come to. Users are of the session's tenant. */
export interface ParticipantStore {
  /**
   * Lets a user take part, or changes the role of one who does and keeps their name. A new one's name is `name`, else
   * `founder~name`, with a number if the user has a session of that name. Invites of one who is no owner any more go.
   */
  grant(
    sessionId: string,
    to: { readonly user: string; readonly role: SessionRole; readonly name?: string | undefined },
  ): Promise<Granted>;
  /** The invites that the user made go as well. */
  revoke(sessionId: string, user: string): Promise<Revoked>;
  /** The founder first, then the others by their names. */
  list(sessionId: string): Promise<readonly Participant[]>;
  /** How many take part, by session. */
  counts(sessionIds: readonly string[]): Promise<ReadonlyMap<string, number>>;
  /** False, and nothing happens, when the session has too many open ones, or is no more. */
  addInvite(invite: NewInvite): Promise<boolean>;
  /** Those that can still be used, the newest first. */
  invites(sessionId: string, now: number): Promise<readonly InviteRow[]>;
  /** False when there was no such invite. */
  removeInvite(sessionId: string, id: string): Promise<boolean>;
  /**
   * Joins the session of the invite with this hash, once for each use, however many ask at once. Whoever has joined by it
   * and takes part since then may follow it again, though it can be used no more.
   */
  accept(
    hash: string,
    who: {
      readonly tenant: string;
      readonly user: string;
      readonly name?: string | undefined;
      readonly now: number;
    },
  ): Promise<Accepted>;
}
