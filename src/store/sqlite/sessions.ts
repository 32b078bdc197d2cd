import type { ExpressionBuilder, Kysely, Selectable } from "kysely";
import type { Clock } from "../../kernel/clock.ts";
import type { OwnedSession, Page, SessionPatch, SessionRow, SessionStore } from "../store.ts";
import { fromCursor, type Position, toCursor } from "./cursor.ts";
import { type Database, isDuplicate } from "./database.ts";
import { expiredIds } from "./expired.ts";
import { sessionFenced } from "./fenced.ts";
import { removeFiles } from "./files.ts";
import { useKey } from "./request-keys.ts";
import type { SessionNamesTable, SessionsTable, Tables } from "./tables.ts";
import { assertStorable, isStorable } from "./text.ts";
import { removeOrphanedUnits } from "./units.ts";

const maxTombstones = 100_000;

const flag = (value: boolean): 0 | 1 => (value ? 1 : 0);

const toRow = ({ epoch: _epoch, version: _version, ...row }: Selectable<SessionsTable>): SessionRow => ({
  ...row,
  createdUpstream: row.createdUpstream === 1,
  ephemeral: row.ephemeral === 1,
  senderNames: row.senderNames === 1,
});

const toOwned = (
  row: Selectable<SessionsTable> & Pick<SessionNamesTable, "name" | "role">,
): OwnedSession => ({
  ...toRow(row),
  name: row.name,
  role: row.role,
});

const toPatch = ({ createdUpstream, ...patch }: SessionPatch) => ({
  ...patch,
  ...(createdUpstream === undefined ? {} : { createdUpstream: flag(createdUpstream) }),
});

const owned = (db: Kysely<Tables>) =>
  db
    .selectFrom("sessionNames")
    .innerJoin("sessions", "sessions.id", "sessionNames.sessionId")
    .selectAll("sessions")
    .select(["sessionNames.name", "sessionNames.role"]);

/** Each session once, with its founder's name. */
const founded = (db: Kysely<Tables>) =>
  owned(db)
    .whereRef("sessionNames.tenant", "=", "sessions.tenant")
    .whereRef("sessionNames.user", "=", "sessions.owner");

const after =
  (column: "sessions.lastUsedAt" | "sessions.createdAt", { time, id }: Position) =>
  (where: ExpressionBuilder<Tables, "sessions">) =>
    where.or([
      where(column, "<", time),
      where.and([where(column, "=", time), where("sessions.id", "<", id)]),
    ]);

/** The page out of one row more than it may have. */
const toPage = (
  rows: readonly OwnedSession[],
  limit: number,
  timeOf: (row: OwnedSession) => number,
): Page<OwnedSession> => {
  const sessions = rows.slice(0, limit);
  const last = sessions.at(-1);
  return rows.length > limit && last !== undefined
    ? { sessions, next: toCursor({ time: timeOf(last), id: last.id }) }
    : { sessions };
};

/** Tables `sessions`, `session_names` and `deleted_sessions`. */
export const sessionsIn = (database: Database, clock: Clock): SessionStore => ({
  async create(row, name, key) {
    assertStorable(row.tenant, row.owner, name);
    return database.transaction(async (db) => {
      const { numInsertedOrUpdatedRows } = await db
        .insertInto("sessionNames")
        .values({ tenant: row.tenant, user: row.owner, name, sessionId: row.id, role: "owner" })
        .onConflict((conflict) => conflict.columns(["tenant", "user", "name"]).doNothing())
        .executeTakeFirstOrThrow();
      if (numInsertedOrUpdatedRows !== 1n) return "name_taken";
      await db
        .insertInto("sessions")
        .values({
          ...row,
          createdUpstream: flag(row.createdUpstream),
          ephemeral: flag(row.ephemeral),
          senderNames: flag(row.senderNames),
          // A fork's row is made from another one's.
          sizeBytes: 0,
        })
        .execute();
      if (key !== undefined && !(await useKey(db, key, { sessionId: row.id }))) {
        await db.deleteFrom("sessions").where("id", "=", row.id).execute();
        return "key_used";
      }
      return "created";
    });
  },

  async byName(tenant, user, name) {
    if (!isStorable(tenant, user, name)) return undefined;
    const row = await database.query((db) =>
      owned(db)
        .where("sessionNames.tenant", "=", tenant)
        .where("sessionNames.user", "=", user)
        .where("sessionNames.name", "=", name)
        .executeTakeFirst(),
    );
    return row && toOwned(row);
  },

  async byPublicId(publicId, tenant, user) {
    if (!isStorable(publicId, tenant, user)) return undefined;
    const row = await database.query((db) =>
      owned(db)
        .where("sessions.publicId", "=", publicId)
        .where("sessionNames.tenant", "=", tenant)
        .where("sessionNames.user", "=", user)
        .executeTakeFirst(),
    );
    return row && toOwned(row);
  },

  async byId(id) {
    const row = await database.query((db) =>
      db.selectFrom("sessions").selectAll().where("id", "=", id).executeTakeFirst(),
    );
    return row && toRow(row);
  },

  async list(tenant, user, { cursor, limit }) {
    if (!isStorable(tenant, user)) return { sessions: [] };
    const position = cursor === undefined ? undefined : fromCursor(cursor);
    const rows = await database.query((db) => {
      const mine = owned(db)
        .where("sessionNames.tenant", "=", tenant)
        .where("sessionNames.user", "=", user)
        .where("sessions.ephemeral", "=", 0);
      return (position === undefined ? mine : mine.where(after("sessions.lastUsedAt", position)))
        .orderBy("sessions.lastUsedAt", "desc")
        .orderBy("sessions.id", "desc")
        .limit(limit + 1)
        .execute();
    });
    return toPage(rows.map(toOwned), limit, (row) => row.lastUsedAt);
  },

  async listAll({ cursor, limit, tenant }) {
    const position = cursor === undefined ? undefined : fromCursor(cursor);
    const rows = await database.query((db) => {
      let query = founded(db);
      if (tenant !== undefined) query = query.where("sessions.tenant", "=", tenant);
      if (position !== undefined) query = query.where(after("sessions.createdAt", position));
      return query
        .orderBy("sessions.createdAt", "desc")
        .orderBy("sessions.id", "desc")
        .limit(limit + 1)
        .execute();
    });
    return toPage(rows.map(toOwned), limit, (row) => row.createdAt);
  },

  counts: () =>
    database.query((db) =>
      db
        .selectFrom("sessions")
        .select((select) => ["tenant", "isolation", select.fn.countAll<number>().as("sessions")])
        .groupBy(["tenant", "isolation"])
        .execute(),
    ),

  namesOf: (id) =>
    database.query((db) =>
      db
        .selectFrom("sessionNames")
        .select(["tenant", "user", "name", "role"])
        .where("sessionId", "=", id)
        .execute(),
    ),

  async update(id, patch, epoch) {
    const { numUpdatedRows } = await database.query((db) => {
      const update = db
        .updateTable("sessions")
        .set({ ...toPatch(patch), updatedAt: clock.now() })
        .where("id", "=", id);
      return (epoch === undefined ? update : update.where("epoch", "=", epoch)).executeTakeFirstOrThrow();
    });
    if (epoch !== undefined && numUpdatedRows === 0n) throw sessionFenced();
  },

  async rename(tenant, user, from, to) {
    assertStorable(to);
    if (!isStorable(tenant, user, from)) return "not_found";
    try {
      const { numUpdatedRows } = await database.query((db) =>
        db
          .updateTable("sessionNames")
          .set({ name: to })
          .where("tenant", "=", tenant)
          .where("user", "=", user)
          .where("name", "=", from)
          .executeTakeFirstOrThrow(),
      );
      return numUpdatedRows === 1n ? "renamed" : "not_found";
    } catch (error) {
      if (isDuplicate(error)) return "name_taken";
      throw error;
    }
  },

  used: (uses) =>
    database.transaction(async (db) => {
      for (const { id, at, inputTokens, outputTokens } of uses) {
        await db
          .updateTable("sessions")
          .set((row) => ({
            lastUsedAt: at,
            inputTokens: row("inputTokens", "+", inputTokens),
            outputTokens: row("outputTokens", "+", outputTokens),
            updatedAt: clock.now(),
          }))
          .where("id", "=", id)
          .execute();
      }
    }),

  delete: (id) =>
    database.transaction(async (db) => {
      await db
        .insertInto("deletedSessions")
        .columns(["publicId", "tenant", "user"])
        .expression(
          db
            .selectFrom("sessionNames")
            .innerJoin("sessions", "sessions.id", "sessionNames.sessionId")
            .select(["sessions.publicId", "sessionNames.tenant", "sessionNames.user"])
            .where("sessions.id", "=", id)
            .where("sessions.ephemeral", "=", 0),
        )
        .execute();
      await db
        .deleteFrom("deletedSessions")
        .where("id", "<=", (newest) =>
          newest
            .selectFrom("deletedSessions")
            .select((row) => row(row.fn.max("id"), "-", maxTombstones).as("oldest")),
        )
        .execute();
      const deleted = await db
        .deleteFrom("sessions")
        .where("id", "=", id)
        .returning("unit")
        .executeTakeFirst();
      if (deleted === undefined) return false;
      await removeFiles(db, { kind: "session", id });
      await removeOrphanedUnits(db, { key: deleted.unit });
      return true;
    }),

  async wasDeleted(publicId, tenant, user) {
    if (!isStorable(publicId, tenant, user)) return false;
    const row = await database.query((db) =>
      db
        .selectFrom("deletedSessions")
        .select("id")
        .where("publicId", "=", publicId)
        .where("tenant", "=", tenant)
        .where("user", "=", user)
        .executeTakeFirst(),
    );
    return row !== undefined;
  },

  async ephemerals() {
    const rows = await database.query((db) =>
      db.selectFrom("sessions").selectAll().where("ephemeral", "=", 1).execute(),
    );
    return rows.map(toRow);
  },

  async countOf(tenant, user) {
    const { count } = await database.query((db) => {
      const all = db
        .selectFrom("sessions")
        .select((select) => select.fn.countAll<number>().as("count"))
        .where("tenant", "=", tenant)
        .where("ephemeral", "=", 0);
      return (user === undefined ? all : all.where("owner", "=", user)).executeTakeFirstOrThrow();
    });
    return count;
  },

  async expired(query) {
    const rows = await database.query((db) =>
      founded(db)
        .where("sessions.id", "in", expiredIds(query))
        .orderBy("sessions.lastUsedAt")
        .orderBy("sessions.id")
        .execute(),
    );
    return rows.map(toOwned);
  },

  async anyInUnit(unit) {
    const row = await database.query((db) =>
      db.selectFrom("sessions").select("id").where("unit", "=", unit).limit(1).executeTakeFirst(),
    );
    return row !== undefined;
  },
});
