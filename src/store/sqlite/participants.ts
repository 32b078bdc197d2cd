import type { Kysely } from "kysely";
import {
  type InviteRow,
  maxOpenInvites,
  maxParticipants,
  type Participant,
  type ParticipantStore,
} from "../participant-store.ts";
import type { SessionRole } from "../session-store.ts";
import type { Database } from "./database.ts";
import type { Tables } from "./tables.ts";
import { assertStorable, isStorable } from "./text.ts";

/** SDK clients use a name as an id, which may have 200 characters; some are left for a number behind it. */
const maxNameLength = 190;

interface SharedSession {
  readonly id: string;
  readonly tenant: string;
  readonly owner: string;
}

const shared = async (db: Kysely<Tables>, id: string): Promise<SharedSession | undefined> =>
  db
    .selectFrom("sessions")
    .select(["id", "tenant", "owner"])
    .where("id", "=", id)
    .where("ephemeral", "=", 0)
    .executeTakeFirst();

const participantOf = (
  db: Kysely<Tables>,
  { id, tenant }: SharedSession,
  user: string,
): Promise<Participant | undefined> =>
  db
    .selectFrom("sessionNames")
    .select(["user", "name", "role"])
    .where("sessionId", "=", id)
    .where("tenant", "=", tenant)
    .where("user", "=", user)
    .executeTakeFirst();

const joinedBy = (
  db: Kysely<Tables>,
  inviteHash: string,
  tenant: string,
  user: string,
): Promise<Participant | undefined> =>
  db
    .selectFrom("sessionNames")
    .select(["user", "name", "role"])
    .where("inviteHash", "=", inviteHash)
    .where("tenant", "=", tenant)
    .where("user", "=", user)
    .executeTakeFirst();

/** A name that this user has for no session yet: the wanted one if that is free. */
const freeName = async (
  db: Kysely<Tables>,
  tenant: string,
  user: string,
  wanted: string,
): Promise<string> => {
  const base = wanted.slice(0, maxNameLength).replace(/[\uD800-\uDBFF]$/, "");
  for (let number = 1; ; number++) {
    const name = number === 1 ? base : `${base}-${number}`;
    const taken = await db
      .selectFrom("sessionNames")
      .select("name")
      .where("tenant", "=", tenant)
      .where("user", "=", user)
      .where("name", "=", name)
      .executeTakeFirst();
    if (taken === undefined) return name;
  }
};

const join = async (
  db: Kysely<Tables>,
  session: SharedSession,
  {
    user,
    role,
    name,
    inviteHash,
  }: {
    readonly user: string;
    readonly role: SessionRole;
    readonly name?: string | undefined;
    readonly inviteHash?: string;
  },
): Promise<Participant | undefined> => {
  const { id, tenant, owner } = session;
  const { count } = await db
    .selectFrom("sessionNames")
    .select((select) => select.fn.countAll<number>().as("count"))
    .where("sessionId", "=", id)
    .executeTakeFirstOrThrow();
  if (count >= maxParticipants) return undefined;
  const founder = name === undefined ? await participantOf(db, session, owner) : undefined;
  const free = await freeName(db, tenant, user, name ?? `${owner}~${founder?.name ?? "session"}`);
  await db
    .insertInto("sessionNames")
    .values({ tenant, user, name: free, sessionId: id, role, inviteHash: inviteHash ?? null })
    .execute();
  return { user, name: free, role };
};

const removeInvitesOf = (db: Kysely<Tables>, sessionId: string, createdBy: string) =>
  db.deleteFrom("invites").where("sessionId", "=", sessionId).where("createdBy", "=", createdBy).execute();

const inviteColumns = ["id", "sessionId", "role", "usesLeft", "expiresAt", "createdBy", "createdAt"] as const;

/** Tables `session_names`, as who takes part in what, and `invites`. */
export const participantsIn = (database: Database): ParticipantStore => ({
  async grant(sessionId, { user, role, name }) {
    assertStorable(user, ...(name === undefined ? [] : [name]));
    return database.transaction(async (db) => {
      const session = await shared(db, sessionId);
      if (session === undefined) return { kind: "no_session" };
      if (session.owner === user) return { kind: "founder" };
      const before = await participantOf(db, session, user);
      if (before === undefined) {
        const participant = await join(db, session, { user, role, name });
        return participant === undefined
          ? { kind: "full" }
          : { kind: "granted", participant, before: undefined };
      }
      await db
        .updateTable("sessionNames")
        .set({ role })
        .where("sessionId", "=", sessionId)
        .where("tenant", "=", session.tenant)
        .where("user", "=", user)
        .execute();
      if (role !== "owner") await removeInvitesOf(db, sessionId, user);
      return { kind: "granted", participant: { ...before, role }, before: before.role };
    });
  },

  async revoke(sessionId, user) {
    if (!isStorable(user)) return { kind: "no_participant" };
    return database.transaction(async (db) => {
      const session = await shared(db, sessionId);
      const participant = session && (await participantOf(db, session, user));
      if (session === undefined || participant === undefined) return { kind: "no_participant" };
      if (session.owner === user) return { kind: "founder" };
      await db
        .deleteFrom("sessionNames")
        .where("sessionId", "=", sessionId)
        .where("tenant", "=", session.tenant)
        .where("user", "=", user)
        .execute();
      await removeInvitesOf(db, sessionId, user);
      return { kind: "revoked", participant };
    });
  },

  list: (sessionId) =>
    database.query((db) =>
      db
        .selectFrom("sessionNames")
        .innerJoin("sessions", "sessions.id", "sessionNames.sessionId")
        .select(["sessionNames.user", "sessionNames.name", "sessionNames.role"])
        .where("sessionId", "=", sessionId)
        .orderBy((by) => by("sessionNames.user", "=", by.ref("sessions.owner")), "desc")
        .orderBy("sessionNames.user")
        .execute(),
    ),

  async counts(sessionIds) {
    if (sessionIds.length === 0) return new Map();
    const rows = await database.query((db) =>
      db
        .selectFrom("sessionNames")
        .select((select) => ["sessionId", select.fn.countAll<number>().as("count")])
        .where("sessionId", "in", [...sessionIds])
        .groupBy("sessionId")
        .execute(),
    );
    return new Map(rows.map((row) => [row.sessionId, row.count]));
  },

  addInvite: (invite) =>
    database.transaction(async (db) => {
      if ((await shared(db, invite.sessionId)) === undefined) return false;
      await db
        .deleteFrom("invites")
        .where("sessionId", "=", invite.sessionId)
        .where("expiresAt", "<=", invite.createdAt)
        .execute();
      const { count } = await db
        .selectFrom("invites")
        .select((select) => select.fn.countAll<number>().as("count"))
        .where("sessionId", "=", invite.sessionId)
        .executeTakeFirstOrThrow();
      if (count >= maxOpenInvites) return false;
      await db.insertInto("invites").values(invite).execute();
      return true;
    }),

  invites: (sessionId, now) =>
    database.query((db) =>
      db
        .selectFrom("invites")
        .select(inviteColumns)
        .where("sessionId", "=", sessionId)
        .where("expiresAt", ">", now)
        .orderBy("createdAt", "desc")
        .orderBy("id")
        .execute(),
    ),

  async removeInvite(sessionId, id) {
    const { numDeletedRows } = await database.query((db) =>
      db
        .deleteFrom("invites")
        .where("sessionId", "=", sessionId)
        .where("id", "=", id)
        .executeTakeFirstOrThrow(),
    );
    return numDeletedRows === 1n;
  },

  async accept(hash, { tenant, user, name, now }) {
    assertStorable(tenant, user, ...(name === undefined ? [] : [name]));
    return database.transaction(async (db) => {
      const invite: InviteRow | undefined = await db
        .selectFrom("invites")
        .select(inviteColumns)
        .where("hash", "=", hash)
        .where("expiresAt", ">", now)
        .executeTakeFirst();
      const session = invite && (await shared(db, invite.sessionId));
      const there = session?.tenant === tenant ? session : undefined;
      const already = await (there ? participantOf(db, there, user) : joinedBy(db, hash, tenant, user));
      if (already !== undefined) return { kind: "already", participant: already };
      if (invite === undefined || there === undefined) return { kind: "invalid" };
      const participant = await join(db, there, { user, role: invite.role, name, inviteHash: hash });
      if (participant === undefined) return { kind: "full" };
      const usesLeft = invite.usesLeft - 1;
      if (usesLeft === 0) await db.deleteFrom("invites").where("id", "=", invite.id).execute();
      else await db.updateTable("invites").set({ usesLeft }).where("id", "=", invite.id).execute();
      return { kind: "joined", invite: { ...invite, usesLeft }, participant };
    });
  },
});
