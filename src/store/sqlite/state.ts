import { type Kysely, sql } from "kysely";
import type { Clock } from "../../kernel/clock.ts";
import { SquadronError } from "../../kernel/errors.ts";
import type { Isolation } from "../../kernel/isolation.ts";
import type { FileScope, StateStore, TenantUsage, UnitCommit } from "../store.ts";
import type { Database } from "./database.ts";
import { sessionFenced } from "./fenced.ts";
import { putMessages } from "./messages.ts";
import { readFiles } from "./read-files.ts";
import { applyStaged, clearStale, type Staged, withStaged } from "./staged.ts";
import type { Tables } from "./tables.ts";
import { endTurn, interruptTurns } from "./turns.ts";
import { assertUnitEpoch, beginUnitEpoch, growUnit, removeOrphanedUnits } from "./units.ts";

/** What is above the limit already, since that was lowered, may still shrink and end its turns. */
const assertFits = (scope: FileScope["kind"], size: number, grown: number, limit: number): void => {
  if (grown <= 0 || size <= limit) return;
  throw new SquadronError(
    "too_large",
    `The files of this ${scope} would have ${size} bytes, more than the ${limit} that limits.maxSize allows; remove some, or have it raised${scope === "session" ? ", or begin a new session" : ""}.`,
    { details: { limit, size, scope, setting: "limits.maxSize" } },
  );
};

/** Within a transaction. */
const changeUnit = async (
  db: Kysely<Tables>,
  unit: Omit<UnitCommit, "files">,
  staged: Staged,
): Promise<void> => {
  if (unit.epoch !== undefined) await assertUnitEpoch(db, unit.key, unit.epoch);
  const grown = await applyStaged(db, { kind: "unit", key: unit.key }, staged);
  assertFits("unit", await growUnit(db, unit, grown), grown, unit.maxBytes);
};

/** Tables `files`, `file_chunks` and `units`, and what `sessions` says of their files. */
export const stateIn = (database: Database, clock: Clock): StateStore => ({
  acquire: (sessionId, at, keep = () => []) =>
    database.passing(async (db) => {
      const { rows } = await sql<{ epoch: number; version: number }>`
        update sessions set epoch = epoch + 1 where id = ${sessionId} returning epoch, version`.execute(db);
      const [taken] = rows;
      if (taken !== undefined) await interruptTurns(db, sessionId, at, keep());
      return taken;
    }),

  newest: (sessionId) =>
    database.query((db) =>
      db.selectFrom("sessions").select(["epoch", "version"]).where("id", "=", sessionId).executeTakeFirst(),
    ),

  commit: ({ sessionId, epoch, version, files, maxBytes, unit, record, messages = [], turns = [] }) =>
    withStaged(database, clock.now(), { session: files, unit: unit?.files ?? [] }, async (db, staged) => {
      // Of the rest only the old size says by how much it grows.
      const appended = files.reduce((sum, one) => sum + (one.kind === "append" ? one.bytes.length : 0), 0);
      const recorded =
        record &&
        sql`, record = ${record.record}, created_upstream = ${record.createdUpstream ? 1 : 0}, updated_at = ${record.at}`;
      const { rows } = await sql<{ sizeBytes: number; tenant: string; unit: string; isolation: Isolation }>`
        update sessions set version = version + 1, size_bytes = size_bytes + ${appended}${recorded ?? sql``}
        where id = ${sessionId} and epoch = ${epoch} and version = ${version}
        returning size_bytes, tenant, unit, isolation`.execute(db);
      const [session] = rows;
      if (session === undefined) throw sessionFenced();

      const grown = await applyStaged(db, { kind: "session", id: sessionId }, staged.session);
      const sizeBytes = session.sizeBytes - appended + grown;
      assertFits("session", sizeBytes, grown, maxBytes);
      if (grown !== appended)
        await sql`update sessions set size_bytes = ${sizeBytes} where id = ${sessionId}`.execute(db);

      if (unit !== undefined) {
        if (unit.key !== session.unit)
          throw new SquadronError("internal", "A session can only change the files of its own unit.");
        await changeUnit(db, { ...unit, tenant: session.tenant, isolation: session.isolation }, staged.unit);
      }
      await putMessages(db, sessionId, messages);
      // Others took this node for dead before the session woke here: what they have said of the turn holds.
      for (const turn of turns)
        if (!(await endTurn(db, turn, sql`session_id = ${sessionId}`))) throw sessionFenced();
      return { version: version + 1, sizeBytes };
    }),

  acquireUnit: (key) => database.query((db) => beginUnitEpoch(db, key)),

  commitUnit: (unit) =>
    withStaged(database, clock.now(), { session: [], unit: unit.files }, (db, staged) =>
      changeUnit(db, unit, staged.unit),
    ),

  files: (scope) => database.query((db) => readFiles(db, scope)),

  file: async (scope, path) => {
    const [entry] = await database.query((db) => readFiles(db, scope, path));
    return entry?.kind === "file" ? entry : undefined;
  },

  usage: async () => {
    const { rows } = await database.query((db) =>
      sql<TenantUsage>`
        select tenant, sum(session_bytes) as session_bytes, sum(unit_bytes) as unit_bytes from (
          select tenant, size_bytes as session_bytes, 0 as unit_bytes from sessions
          union all
          select tenant, 0, size_bytes from units
        ) group by tenant order by tenant`.execute(db),
    );
    return rows;
  },

  async removeOrphans(limit) {
    await clearStale(database, clock.now());
    return database.transaction((db) => removeOrphanedUnits(db, { limit }));
  },
});
