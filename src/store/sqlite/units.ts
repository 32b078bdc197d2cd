import { type Kysely, sql } from "kysely";
import { SquadronError } from "../../kernel/errors.ts";
import type { Isolation } from "../../kernel/isolation.ts";
import { removeFiles } from "./files.ts";
import type { Tables } from "./tables.ts";

/** A new epoch of the unit. */
export const beginUnitEpoch = async (db: Kysely<Tables>, key: string): Promise<number> => {
  const { rows } = await sql<{ epoch: number }>`
    insert into unit_epochs (key, epoch) values (${key}, 1)
    on conflict (key) do update set epoch = epoch + 1 returning epoch`.execute(db);
  return rows[0]?.epoch ?? 1;
};

/** Within a transaction. Rejects with `fenced` when the unit has a newer epoch. */
export const assertUnitEpoch = async (db: Kysely<Tables>, key: string, epoch: number): Promise<void> => {
  const { rows } = await sql`select 1 from unit_epochs where key = ${key} and epoch = ${epoch}`.execute(db);
  if (rows.length === 0)
    throw new SquadronError(
      "fenced",
      "The unit of this session has gone on elsewhere; what was done here is not kept.",
    );
};

/** Within a transaction. Notes by how much a unit's files have grown, and of whom it is; the bytes of all of them. */
export const growUnit = async (
  db: Kysely<Tables>,
  unit: { readonly key: string; readonly tenant: string; readonly isolation: Isolation },
  grown: number,
): Promise<number> => {
  const { rows } = await sql<{ sizeBytes: number }>`
    insert into units (key, tenant, isolation, size_bytes)
    values (${unit.key}, ${unit.tenant}, ${unit.isolation}, ${grown})
    on conflict (key) do update set size_bytes = size_bytes + excluded.size_bytes
    returning size_bytes`.execute(db);
  return rows[0]?.sizeBytes ?? grown;
};

/**
 * Within a transaction. Removes up to `limit` units that were one session's alone and have none any more, or the one of
 * this key if it is such; how many. Units of a user stay: the next session goes on with their settings.
 */
export const removeOrphanedUnits = async (
  db: Kysely<Tables>,
  which: { readonly limit: number } | { readonly key: string },
): Promise<number> => {
  const narrowed = "key" in which ? sql`and key = ${which.key}` : sql`limit ${which.limit}`;
  const { rows } = await sql<{ key: string }>`
    select key from units
    where isolation = 'session' and not exists (select 1 from sessions where unit = key) ${narrowed}`.execute(
    db,
  );
  for (const { key } of rows) {
    await removeFiles(db, { kind: "unit", key });
    await sql`delete from units where key = ${key}`.execute(db);
    await sql`delete from unit_epochs where key = ${key}`.execute(db);
  }
  return rows.length;
};
