import { sql } from "kysely";
import type { BrowserSessionStore } from "../store.ts";
import type { Database } from "./database.ts";

/** Table `browser_sessions`. */
export const browserSessionsIn = (database: Database): BrowserSessionStore => ({
  insert: (row, most) =>
    database.transaction(async (db) => {
      const { tenant, user } = row;
      const removed = await sql<{ readonly hash: string }>`
        delete from browser_sessions where hash in (
          select hash from browser_sessions where tenant = ${tenant} and user = ${user}
          order by created_at desc, hash limit -1 offset ${most - 1}) returning hash`.execute(db);
      await db.insertInto("browserSessions").values(row).execute();
      return removed.rows.map(({ hash }) => hash);
    }),

  byHash: (hash) =>
    database.query((db) =>
      db.selectFrom("browserSessions").selectAll().where("hash", "=", hash).executeTakeFirst(),
    ),

  async remove(hash) {
    const { numDeletedRows } = await database.query((db) =>
      db.deleteFrom("browserSessions").where("hash", "=", hash).executeTakeFirstOrThrow(),
    );
    return numDeletedRows === 1n;
  },

  async removeExpired(at, limit) {
    const { numAffectedRows } = await database.query((db) =>
      sql`
        delete from browser_sessions where hash in (
          select hash from browser_sessions where expires_at <= ${at} order by expires_at limit ${limit})`.execute(
        db,
      ),
    );
    return Number(numAffectedRows ?? 0n);
  },
});
