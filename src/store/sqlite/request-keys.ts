import { type Kysely, sql } from "kysely";
import type { RequestKey, RequestKeyStore } from "../store.ts";
import type { Database } from "./database.ts";
import type { Tables } from "./tables.ts";

/**
 * Notes, within a transaction, that a request with this key has had its effect: this session, or this turn in it. False,
 * and nothing is noted, when the key has been used and that is not so long ago that it is forgotten.
 */
export const useKey = async (
  db: Kysely<Tables>,
  { tenant, user, key, hash, at, notBefore }: RequestKey,
  target: { readonly sessionId: string; readonly turnId?: string },
): Promise<boolean> => {
  const { numAffectedRows } = await sql`
    insert into request_keys (tenant, user, key, hash, session_id, turn_id, at)
    values (${tenant}, ${user}, ${key}, ${hash}, ${target.sessionId}, ${target.turnId ?? null}, ${at})
    on conflict (tenant, user, key) do update set
      hash = excluded.hash, session_id = excluded.session_id, turn_id = excluded.turn_id, at = excluded.at
    where at < ${notBefore}`.execute(db);
  return numAffectedRows === 1n;
};

/** A turn that was refused has had no effect: its request may be made again. */
export const freeKeyOf = (db: Kysely<Tables>, turnId: string) =>
  sql`delete from request_keys where turn_id = ${turnId}`.execute(db);

/** Table `request_keys`. */
export const requestKeysIn = (database: Database): RequestKeyStore => ({
  find: ({ tenant, user, key, notBefore }) =>
    database.query((db) =>
      db
        .selectFrom("requestKeys")
        .select(["hash", "sessionId", "turnId"])
        .where("tenant", "=", tenant)
        .where("user", "=", user)
        .where("key", "=", key)
        .where("at", ">=", notBefore)
        .executeTakeFirst(),
    ),

  async removeBefore(at, limit) {
    const { numAffectedRows } = await database.query((db) =>
      sql`
        delete from request_keys where (tenant, user, key) in (
          select tenant, user, key from request_keys where at < ${at} order by at limit ${limit})`.execute(
        db,
      ),
    );
    return Number(numAffectedRows ?? 0n);
  },
});
