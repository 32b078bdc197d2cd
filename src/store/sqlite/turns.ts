import { type Kysely, sql } from "kysely";
import type { TurnEnd, TurnStore } from "../store.ts";
import type { Database } from "./database.ts";
import { buryHolders } from "./leases.ts";
import type { Tables } from "./tables.ts";

/** Of one session; older ones are forgotten. */
const maxTurns = 1_000;

const nodeEnded = "The node that was running the turn ended; the turn was interrupted.";
const nodeEndedBefore = "The node ended before it began with the message; send it again.";
const takenOver = "The session was taken over while the turn ran; the turn was interrupted.";

/** Ends a turn; one that has ended stays as it is, and so does one of another session, if that is named. */
export const endTurn = (db: Kysely<Tables>, end: TurnEnd, sessionId?: string) =>
  sql`
    update turns set state = ${end.state}, ended_at = ${end.endedAt}, reason = ${end.reason},
      runtime_message_id = ${end.runtimeMessageId},
      input_tokens = ${end.inputTokens}, output_tokens = ${end.outputTokens}
    where id = ${end.id} and ended_at is null and session_id = coalesce(${sessionId ?? null}, session_id)`.execute(
    db,
  );

/** Ends what a session's former holder had begun, except for `keep`. */
export const interruptTurns = (db: Kysely<Tables>, sessionId: string, at: number, keep: string | undefined) =>
  sql`
    update turns set state = 'interrupted', ended_at = ${at}, reason = ${takenOver}
    where session_id = ${sessionId} and ended_at is null and state = 'begun'
      and id is not ${keep ?? null}`.execute(db);

const columns = [
  "id",
  "sessionId",
  "sender",
  "state",
  "acceptedAt",
  "begunAt",
  "endedAt",
  "runtimeMessageId",
  "reason",
  "inputTokens",
  "outputTokens",
] as const;

/** Table `turns`; `holder` is the node that takes and begins them here. */
export const turnsIn = (database: Database, holder: string): TurnStore => ({
  insert: (row) =>
    database.transaction(async (db) => {
      await sql`
        insert into turns (id, session_id, sender, state, accepted_at, begun_at, ended_at,
          runtime_message_id, reason, input_tokens, output_tokens, holder)
        select ${row.id}, id, ${row.sender}, ${row.state}, ${row.acceptedAt}, ${row.begunAt}, ${row.endedAt},
          ${row.runtimeMessageId}, ${row.reason}, ${row.inputTokens}, ${row.outputTokens}, ${holder}
        from sessions where id = ${row.sessionId}`.execute(db);
      await sql`
        delete from turns where session_id = ${row.sessionId} and seq <= (
          select seq from turns where session_id = ${row.sessionId} order by seq desc limit 1 offset ${maxTurns}
        )`.execute(db);
    }),

  async begin(id, at) {
    await database.query((db) =>
      sql`
        update turns set state = 'begun', begun_at = ${at}, holder = ${holder}
        where id = ${id} and state = 'accepted'`.execute(db),
    );
  },

  async end(end) {
    await database.query((db) => endTurn(db, end));
  },

  byId: (sessionId, id) =>
    database.query((db) =>
      db
        .selectFrom("turns")
        .select(columns)
        .where("sessionId", "=", sessionId)
        .where((where) => where.or([where("id", "=", id), where("runtimeMessageId", "=", id)]))
        .orderBy("seq", "desc")
        .limit(1)
        .executeTakeFirst(),
    ),

  list: (sessionId, { limit, before }) =>
    database.query((db) => {
      const all = db.selectFrom("turns").select(columns).where("sessionId", "=", sessionId);
      // When that turn has been forgotten, all before it have been too.
      const page =
        before === undefined
          ? all
          : all.where("seq", "<", (cursor) =>
              cursor
                .selectFrom("turns")
                .select("seq")
                .where("id", "=", before.id)
                .where("sessionId", "=", sessionId),
            );
      return page.orderBy("seq", "desc").limit(limit).execute();
    }),

  settleAll: (at) =>
    database.transaction(async (db) => {
      const abandoned = sql`ended_at is null and not exists (
        select 1 from lease_holders where id = turns.holder and until > ${at})`;
      await sql`
        update sessions set epoch = epoch + 1
        where id in (select session_id from turns where ${abandoned})`.execute(db);
      const { numAffectedRows } = await sql`
        update turns set ended_at = ${at},
          reason = case state when 'begun' then ${nodeEnded} else ${nodeEndedBefore} end,
          state = case state when 'begun' then 'interrupted' else 'refused' end
        where ${abandoned}`.execute(db);
      await buryHolders(db, at);
      return Number(numAffectedRows ?? 0n);
    }),
});
