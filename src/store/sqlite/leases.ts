import { type Kysely, sql } from "kysely";
import type { LeaseStore } from "../store.ts";
import type { Database } from "./database.ts";
import type { Tables } from "./tables.ts";

type Claim = Parameters<LeaseStore["take"]>[0];

/** Until when somebody else who holds the name, or was there before this token, counts as alive. Undefined: nobody. */
const blockedUntil = async (
  db: Kysely<Tables>,
  { name, token, now }: Claim,
): Promise<{ readonly until: number | null; readonly inLine: number }> => {
  const { rows } = await sql<{ until: number | null; inLine: number }>`
    select
      (select max(until) from lease_holders where until > ${now} and id in (
        select holder from leases where name = ${name} and token <> ${token}
        union all
        select holder from lease_waiters where name = ${name} and token <> ${token} and seq < coalesce(
          (select seq from lease_waiters where token = ${token}), 9223372036854775807)
      )) as until,
      exists (select 1 from lease_waiters where token = ${token}) as in_line`.execute(db);
  return rows[0] ?? { until: null, inLine: 0 };
};

const keepAlive = (db: Kysely<Tables>, { holder, until }: Pick<Claim, "holder" | "until">) =>
  sql`
    insert into lease_holders (id, until) values (${holder}, ${until})
    on conflict (id) do update set until = max(until, excluded.until)`.execute(db);

/** How long the row of a node stays that lives no more: it may only have been asleep. */
const keptMs = 86_400_000;

/** Within a transaction. What nodes had that live no more is nobody's. */
export const buryHolders = async (db: Kysely<Tables>, at: number): Promise<void> => {
  const dead = sql`holder in (select id from lease_holders where until <= ${at})`;
  await sql`delete from leases where ${dead}`.execute(db);
  await sql`delete from lease_waiters where ${dead}`.execute(db);
  await sql`delete from lease_holders where until <= ${at - keptMs}`.execute(db);
};

/** Tables `lease_holders`, `leases` and `lease_waiters`. No holder outlives its machine. */
export const leasesIn = (database: Database): LeaseStore => {
  const listeners = new Set<(name: string) => void>();

  return {
    async take(claim) {
      const { name, token, holder } = claim;
      // Who waits looks often, and mostly there is nothing to write.
      const before = await database.query((db) => blockedUntil(db, claim));
      if (before.until !== null && before.inLine === 1) return { kind: "held", until: before.until };
      return database.passing(async (db) => {
        await keepAlive(db, claim);
        const { until, inLine } = await blockedUntil(db, claim);
        if (until === null) {
          await sql`insert or replace into leases (name, holder, token) values (${name}, ${holder}, ${token})`.execute(
            db,
          );
          await sql`delete from lease_waiters where token = ${token}`.execute(db);
          return { kind: "taken" } as const;
        }
        if (inLine === 0)
          await sql`insert into lease_waiters (name, holder, token) values (${name}, ${holder}, ${token})`.execute(
            db,
          );
        return { kind: "held", until } as const;
      });
    },

    renew: (life) =>
      database.passing(async (db) => {
        await keepAlive(db, life);
        return db.selectFrom("leases").select(["name", "token"]).where("holder", "=", life.holder).execute();
      }),

    async drop({ name, token }) {
      await database.passing(async (db) => {
        await sql`delete from leases where name = ${name} and token = ${token}`.execute(db);
        await sql`delete from lease_waiters where token = ${token}`.execute(db);
      });
      for (const listener of listeners) listener(name);
    },

    async forget(holder) {
      await database.query((db) => sql`delete from lease_holders where id = ${holder}`.execute(db));
    },

    async enter({ holder, directory, until }) {
      await database.transaction(async (db) => {
        await sql`delete from lease_holders where directory = ${directory}`.execute(db);
        await sql`insert into lease_holders (id, directory, until) values (${holder}, ${directory}, ${until})`.execute(
          db,
        );
      });
    },

    onFreed(listener) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
  };
};
