import { type Kysely, type RawBuilder, sql } from "kysely";
import { SquadronError } from "../../kernel/errors.ts";
import type { TurnEnd, TurnStore, WaitingTurn } from "../store.ts";
import type { Database } from "./database.ts";
import { buryHolders } from "./leases.ts";
import { freeKeyOf, useKey } from "./request-keys.ts";
import type { Tables } from "./tables.ts";

/** Of one session; older ones are forgotten. */
const maxTurns = 1_000;

const nodeEnded = "The node that was running the turn ended; the turn was interrupted.";
const nodeEndedBefore = "The node ended before it began with the message; send it again.";
const takenOver = "The session was taken over while the turn ran; the turn was interrupted.";

/**
 * Ends a turn; one that has ended stays as it is, and so does one that `which` does not mean. False if it stands
 * otherwise than said here.
 */
export const endTurn = async (
  db: Kysely<Tables>,
  end: TurnEnd,
  which: RawBuilder<unknown>,
): Promise<boolean> => {
  const { numAffectedRows } = await sql`
    update turns set state = ${end.state}, ended_at = ${end.endedAt}, reason = ${end.reason},
      runtime_message_id = ${end.runtimeMessageId}, content = ${end.content}, joined = ${end.joined},
      parameters = null,
      input_tokens = ${end.inputTokens}, output_tokens = ${end.outputTokens}
    where id = ${end.id} and ended_at is null and ${which}`.execute(db);
  if (numAffectedRows === 1n) {
    if (end.state === "refused") await freeKeyOf(db, end.id);
    return true;
  }
  const { rows } = await sql`
    select 1 from turns where id = ${end.id} and state = ${end.state} and ${which}`.execute(db);
  return rows.length > 0;
};

/** Messages that somebody was promised would be run. */
const promised = sql`ended_at is null and parameters is not null`;

/** Nobody lives who has it at work. */
const leftBehind = (at: number) => sql`not exists (
  select 1 from lease_holders where id = turns.holder and until > ${at})`;

/** Ends what a session's former holder had begun, except for `keep`. */
export const interruptTurns = (db: Kysely<Tables>, sessionId: string, at: number, keep: readonly string[]) =>
  sql`
    update turns set state = 'interrupted', ended_at = ${at}, reason = ${takenOver}
    where session_id = ${sessionId} and ended_at is null and state = 'begun'
      and id not in (${sql.join(keep)})`.execute(db);

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
  "content",
  "joined",
] as const;

/** Table `turns`; `holder` is the node that takes and begins them here. */
export const turnsIn = (database: Database, holder: string): TurnStore => ({
  insert: (turn) =>
    database.transaction(async (db) => {
      const { numAffectedRows } = await sql`
        insert into turns (id, session_id, sender, state, accepted_at, begun_at, input_tokens, output_tokens,
          parameters, holder)
        select ${turn.id}, id, ${turn.sender}, ${turn.state}, ${turn.acceptedAt}, ${turn.begunAt}, 0, 0,
          ${turn.parameters ?? null}, ${holder}
        from sessions where id = ${turn.sessionId}`.execute(db);
      if (numAffectedRows === 0n) throw new SquadronError("session_deleted", "The session has been deleted.");
      if (turn.key !== undefined) {
        const target = { sessionId: turn.sessionId, turnId: turn.id };
        if (!(await useKey(db, turn.key, target))) {
          await sql`delete from turns where id = ${turn.id}`.execute(db);
          return false;
        }
      }
      await sql`
        delete from turns where session_id = ${turn.sessionId} and seq <= (
          select seq from turns where session_id = ${turn.sessionId} order by seq desc limit 1 offset ${maxTurns}
        ) and ended_at is not null and id not in (
          select turn_id from request_keys where session_id = ${turn.sessionId} and turn_id is not null
        )`.execute(db);
      return true;
    }),

  async begin(id, at) {
    const { numAffectedRows } = await database.query((db) =>
      sql`
        update turns set state = 'begun', begun_at = coalesce(begun_at, ${at}), parameters = null
        where id = ${id} and ended_at is null and holder = ${holder}`.execute(db),
    );
    return numAffectedRows === 1n;
  },

  end: (end) =>
    database.transaction(async (db) => {
      await endTurn(db, end, sql`holder = ${holder}`);
    }),

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

  claim: async (sessionId, at) => {
    const { rows } = await database.query((db) =>
      sql<WaitingTurn & { seq: number }>`
        update turns set holder = ${holder}
        where session_id = ${sessionId} and ${promised} and ${leftBehind(at)}
        returning seq, id, sender, accepted_at, parameters`.execute(db),
    );
    return rows.toSorted((one, other) => one.seq - other.seq).map(({ seq: _, ...turn }) => turn);
  },

  claimable: async ({ at, limit, after = "" }) => {
    const { rows } = await database.query((db) =>
      sql<{ sessionId: string }>`
        select distinct session_id from turns
        where session_id > ${after} and ${promised} and ${leftBehind(at)}
        order by session_id limit ${limit}`.execute(db),
    );
    return rows.map(({ sessionId }) => sessionId);
  },

  settleAll: (at) =>
    database.transaction(async (db) => {
      // Who has taken a session over since has left nothing of it that had begun, and keeps its epoch.
      const abandoned = sql`ended_at is null and parameters is null and ${leftBehind(at)}`;
      await sql`
        update sessions set epoch = epoch + 1
        where id in (select session_id from turns where state = 'begun' and ${abandoned})`.execute(db);
      const { numAffectedRows } = await sql`
        update turns set ended_at = ${at},
          reason = case state when 'begun' then ${nodeEnded} else ${nodeEndedBefore} end,
          state = case state when 'begun' then 'interrupted' else 'refused' end
        where ${abandoned}`.execute(db);
      // That reads all turns, and mostly there is nothing to free.
      if (numAffectedRows !== undefined && numAffectedRows > 0n)
        await sql`
          delete from request_keys where turn_id in (
            select id from turns where state = 'refused' and ended_at = ${at})`.execute(db);
      await buryHolders(db, at);
      return Number(numAffectedRows ?? 0n);
    }),
});
