import { type Kysely, sql } from "kysely";
import type { TokenDay, TokenStore, TokenTotals } from "../store.ts";
import type { Database } from "./database.ts";
import type { Tables } from "./tables.ts";

/** Nodes whose clocks differ may still count the day before. */
const daysKept = 2;

const totalsOf = async (db: Kysely<Tables>, { day, tenant, user }: TokenDay): Promise<TokenTotals> => {
  const { rows } = await sql<TokenTotals>`
    select coalesce(sum(tokens), 0) as tenant, coalesce(sum(case when user = ${user} then tokens end), 0) as user
    from token_use where day = ${day} and tenant = ${tenant}`.execute(db);
  return rows[0] ?? { tenant: 0, user: 0 };
};

/** Table `token_use`. */
export const tokensIn = (database: Database): TokenStore => ({
  add: ({ day, tenant, user }, tokens) =>
    database.passing(async (db) => {
      await sql`delete from token_use where day <= ${day - daysKept}`.execute(db);
      await sql`
        insert into token_use (day, tenant, user, tokens) values (${day}, ${tenant}, ${user}, ${tokens})
        on conflict (day, tenant, user) do update set tokens = tokens + excluded.tokens`.execute(db);
      return totalsOf(db, { day, tenant, user });
    }),

  of: (which) => database.query((db) => totalsOf(db, which)),
});
