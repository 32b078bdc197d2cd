import { createHash, randomBytes } from "node:crypto";
import type { Clock } from "../kernel/clock.ts";
import { SquadronError } from "../kernel/errors.ts";
import { newId } from "../kernel/ids.ts";
import type { Principal } from "../kernel/principal.ts";
import { Secret } from "../kernel/secret.ts";
import { assertMay } from "../policy/session-rights.ts";
import {
  type InvitedRole,
  type InviteRow,
  maxOpenInvites,
  maxParticipants,
  type OwnedSession,
  type Participant,
  type SessionRole,
  type Store,
} from "../store/store.ts";
import type { AuditTrail } from "./audit-trail.ts";
import type { Hosts } from "./hosts.ts";
import { createKeyedOrder } from "./keyed-order.ts";
import { noLongerPart } from "./session-access.ts";

/**
 * Who takes part in a session, and who may come to. What a change means for connections that are open has happened when
 * its promise resolves. Everything is audited, what is refused too. `session` is the session as its caller sees it.
 */
export interface Participants {
  /**
   * By an owner. Rejects with `forbidden` when the founder is meant, with `quota_exceeded`, and with `invalid_request` for a
   * name that could be one of the user's own: a program of theirs that makes a session of that name would find this one.
   */
  grant(
    by: Principal,
    session: OwnedSession,
    to: { readonly user: string; readonly role: SessionRole; readonly name?: string | undefined },
  ): Promise<Participant>;
  /** By an owner, or by oneself. Rejects with `forbidden` when the founder is meant, and with `not_found`. */
  revoke(by: Principal, session: OwnedSession, user: string): Promise<void>;
  /** By an owner. The token is shown this once. Rejects with `quota_exceeded`. */
  invite(
    by: Principal,
    session: OwnedSession,
    terms: { readonly role: InvitedRole; readonly uses: number; readonly ttlMs: number },
  ): Promise<{ readonly invite: InviteRow; readonly token: Secret }>;
  /** Those that can still be used; for owners' eyes. */
  invites(session: Pick<OwnedSession, "id">): Promise<readonly InviteRow[]>;
  /** By an owner. Rejects with `not_found`. */
  withdraw(by: Principal, session: OwnedSession, inviteId: string): Promise<void>;
  /**
   * Joins the session that the token invites to, or finds it again for who has joined by it and takes part since then,
   * though the invite is used up, expired or taken back. Rejects with `invite_invalid`, whatever is wrong with the token, and
   * with `quota_exceeded`.
   */
  accept(by: Principal, token: string, name: string | undefined): Promise<OwnedSession>;
}

const tokenBytes = 32;

const hashOf = (token: string): string => createHash("sha256").update(token).digest("hex");

const inviteInvalid = (): SquadronError =>
  new SquadronError(
    "invite_invalid",
    "This invite is not valid: it may be mistyped, used up, expired, or taken back. Ask for a new one.",
  );

const full = (): SquadronError =>
  new SquadronError("quota_exceeded", `A session has at most ${maxParticipants} participants.`, {
    details: { limit: "participants", value: maxParticipants },
  });

export const createParticipants = (services: {
  readonly store: Pick<Store, "sessions" | "participants">;
  readonly hosts: Pick<Hosts, "partChanged" | "find">;
  readonly audit: AuditTrail;
  readonly clock: Clock;
}): Participants => {
  const { store, hosts, audit, clock } = services;
  const order = createKeyedOrder();

  /** Whoever is no owner any more when it is their request's turn is none. */
  const byOwner = <T>(
    by: Principal,
    session: OwnedSession,
    what: { readonly action: string; readonly detail?: string; readonly mayOthers?: boolean },
    work: () => Promise<T>,
  ): Promise<T> =>
    order.run(session.id, async () => {
      const { action, detail } = what;
      const entry = { action, target: session.publicId, ...(detail !== undefined && { detail }) };
      try {
        const now = await store.sessions.byPublicId(session.publicId, by.tenant, by.user);
        if (now === undefined) throw noLongerPart();
        const part = { role: now.role, founder: now.owner === by.user };
        if (what.mayOthers !== true) assertMay(part, "owner", action);
        const done = await work();
        audit.record(by, { ...entry, outcome: "ok" });
        return done;
      } catch (error) {
        if (error instanceof SquadronError) audit.record(by, { ...entry, outcome: error.code });
        throw error;
      }
    });

  const founderStays = (what: string): SquadronError =>
    new SquadronError("forbidden", `The founder of a session ${what}.`);

  return {
    grant: (by, session, to) =>
      byOwner(by, session, { action: "participant.grant", detail: `${to.user}: ${to.role}` }, async () => {
        const prefix = `${session.owner}~`;
        if (to.name !== undefined && to.user !== by.user && !to.name.startsWith(prefix))
          throw new SquadronError(
            "invalid_request",
            `The name under which you share a session with another user begins with ${prefix}; the user may give it another.`,
            { details: { in: "body", field: "name" } },
          );
        const granted = await store.participants.grant(session.id, to);
        switch (granted.kind) {
          case "granted":
            if (granted.before !== granted.participant.role) await hosts.partChanged(session.id, to.user);
            return granted.participant;
          case "founder":
            throw founderStays("is always an owner of it");
          case "full":
            throw full();
          case "no_session":
            throw new SquadronError("session_deleted", "The session has been deleted.");
        }
      }),

    revoke: (by, session, user) =>
      byOwner(
        by,
        session,
        { action: "participant.revoke", detail: user, mayOthers: by.user === user },
        async () => {
          const revoked = await store.participants.revoke(session.id, user);
          switch (revoked.kind) {
            case "revoked":
              return hosts.partChanged(session.id, user);
            case "founder":
              throw founderStays("cannot be removed from it; it can be deleted");
            case "no_participant":
              // An earlier removal may have been stored and then have failed.
              if (hosts.find(session.id)?.access.partOf({ tenant: by.tenant, user }) !== undefined)
                await hosts.partChanged(session.id, user);
              throw new SquadronError("not_found", "This user takes no part in the session.");
          }
        },
      ),

    invite: (by, session, { role, uses, ttlMs }) =>
      byOwner(by, session, { action: "invite.create", detail: `${role}, ${uses} uses` }, async () => {
        const token = randomBytes(tokenBytes).toString("base64url");
        const now = clock.now();
        const invite: InviteRow = {
          id: newId("inv"),
          sessionId: session.id,
          role,
          usesLeft: uses,
          expiresAt: now + ttlMs,
          createdBy: by.user,
          createdAt: now,
        };
        if (await store.participants.addInvite({ ...invite, hash: hashOf(token) }))
          return { invite, token: new Secret(token) };
        throw new SquadronError(
          "quota_exceeded",
          `A session has at most ${maxOpenInvites} open invites; take one back first.`,
          { details: { limit: "invites", value: maxOpenInvites } },
        );
      }),

    invites: ({ id }) => store.participants.invites(id, clock.now()),

    withdraw: (by, session, inviteId) =>
      byOwner(by, session, { action: "invite.revoke", detail: inviteId }, async () => {
        if (await store.participants.removeInvite(session.id, inviteId)) return;
        throw new SquadronError("not_found", "There is no such invite in this session.");
      }),

    async accept(by, token, name) {
      const { tenant, user } = by;
      const accepted = await store.participants.accept(hashOf(token), {
        tenant,
        user,
        name,
        now: clock.now(),
      });
      if (accepted.kind === "full" || accepted.kind === "invalid") {
        audit.record(by, { action: "invite.accept", target: "", outcome: accepted.kind });
        throw accepted.kind === "full" ? full() : inviteInvalid();
      }
      const { participant } = accepted;
      if (accepted.kind === "joined") await hosts.partChanged(accepted.invite.sessionId, user);
      const session = await store.sessions.byName(tenant, user, participant.name);
      if (session === undefined) throw inviteInvalid();
      if (accepted.kind === "joined")
        audit.record(by, {
          action: "invite.accept",
          target: session.publicId,
          outcome: "ok",
          detail: `${accepted.invite.id}: ${participant.role}`,
        });
      return session;
    },
  };
};
