import type { Clock } from "../../kernel/clock.ts";
import type { Role } from "../../kernel/principal.ts";
import type { KeyRow, KeyStore } from "../store.ts";
import type { Database } from "./database.ts";
import type { KeysTable } from "./tables.ts";
import { assertStorable } from "./text.ts";

const toRow = (row: KeysTable): KeyRow => ({ ...row, roles: JSON.parse(row.roles) as Role[] });

/** Table `keys`. */
export const keysIn = (database: Database, clock: Clock): KeyStore => ({
  async insert(row) {
    assertStorable(row.tenant, row.user);
    await database.query((db) =>
      db
        .insertInto("keys")
        .values({ ...row, roles: JSON.stringify(row.roles) })
        .execute(),
    );
  },

  async byHash(hash) {
    const row = await database.query((db) =>
      db.selectFrom("keys").selectAll().where("hash", "=", hash).executeTakeFirst(),
    );
    return row && toRow(row);
  },

  async byId(id) {
    const row = await database.query((db) =>
      db.selectFrom("keys").selectAll().where("id", "=", id).executeTakeFirst(),
    );
    return row && toRow(row);
  },

  async list({ tenant, limit }) {
    const rows = await database.query((db) => {
      const all = db.selectFrom("keys").selectAll();
      const chosen = tenant === undefined ? all : all.where("tenant", "=", tenant);
      return chosen.orderBy("createdAt", "desc").orderBy("id", "desc").limit(limit).execute();
    });
    return rows.map(toRow);
  },

  async any() {
    const row = await database.query((db) =>
      db.selectFrom("keys").select("id").where("revokedAt", "is", null).limit(1).executeTakeFirst(),
    );
    return row !== undefined;
  },

  async used(id, at) {
    await database.query((db) =>
      db.updateTable("keys").set({ lastUsedAt: at }).where("id", "=", id).execute(),
    );
  },

  async revoke(id) {
    const { numUpdatedRows } = await database.query((db) =>
      db
        .updateTable("keys")
        .set({ revokedAt: clock.now() })
        .where("id", "=", id)
        .where("revokedAt", "is", null)
        .executeTakeFirstOrThrow(),
    );
    return numUpdatedRows === 1n;
  },
});
