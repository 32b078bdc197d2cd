import type { AuditStore } from "../store.ts";
import type { Database } from "./database.ts";

const maxEntries = 100_000;

/** Table `audit`. */
export const auditIn = (database: Database): AuditStore => ({
  async append(...entries) {
    if (entries.length === 0) return;
    await database.transaction(async (db) => {
      for (const entry of entries) await db.insertInto("audit").values(entry).execute();
      await db
        .deleteFrom("audit")
        .where("id", "<=", (newest) =>
          newest.selectFrom("audit").select((row) => row(row.fn.max("id"), "-", maxEntries).as("oldest")),
        )
        .execute();
    });
  },

  list: ({ tenant, limit, before }) =>
    database.query((db) => {
      let query = db.selectFrom("audit").selectAll();
      if (tenant !== undefined) query = query.where("tenant", "=", tenant);
      if (before !== undefined) query = query.where("id", "<", before);
      return query.orderBy("id", "desc").limit(limit).execute();
    }),
});
