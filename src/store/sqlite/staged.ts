import { type Kysely, sql, type Transaction } from "kysely";
import { SquadronError } from "../../kernel/errors.ts";
import { newUuid } from "../../kernel/ids.ts";
import { bytesAtOnce, createPace, type Pace } from "../../kernel/pace.ts";
import type { FileChange, FileScope, StoredEntry } from "../store.ts";
import type { Database } from "./database.ts";
import { addChunks, assertInside, changeFiles, insertEntry, type Place, placeOf } from "./files.ts";
import type { Tables } from "./tables.ts";

/**
 * A large commit in three. What it brings is written ahead in small transactions, under an owner that nobody asks for; one
 * transaction gives that to the scope, and what it replaces or removes to another such owner; small transactions remove
 * that. So none is long, others come in between, and still all of the commit happens or nothing.
 */
export interface Staged {
  /** What the transaction changes by itself. */
  readonly rest: readonly FileChange[];
  readonly ahead?: Ahead;
}

interface Ahead {
  readonly owner: string;
  /** How many entries were written under it. */
  readonly entries: number;
  readonly removed: readonly string[];
}

/** What has more of either is a large commit, and is written by so much at a time. */
const entriesAtOnce = 128;
const largeBytes = 2 * bytesAtOnce;

/** After so long whoever has written ahead must have died over it. */
const staleMs = 3_600_000;

const replacedBy = (owner: string): string => `${owner}/replaced`;

const bytesOf = (change: FileChange): number => ("bytes" in change ? change.bytes.length : 0);

const isLarge = (changes: readonly FileChange[]): boolean =>
  (changes.length > entriesAtOnce || changes.reduce((sum, one) => sum + bytesOf(one), 0) > largeBytes) &&
  // Of several changes to one path the order counts.
  new Set(changes.map(({ path }) => path)).size === changes.length;

/** By what goes into one transaction; an entry that is larger is alone. */
function* batchesOf(entries: readonly StoredEntry[]): Generator<readonly StoredEntry[]> {
  let batch: StoredEntry[] = [];
  let bytes = 0;
  for (const entry of entries) {
    if (batch.length === entriesAtOnce || (batch.length > 0 && bytes + bytesOf(entry) > largeBytes)) {
      yield batch;
      batch = [];
      bytes = 0;
    }
    batch.push(entry);
    bytes += bytesOf(entry);
  }
  if (batch.length > 0) yield batch;
}

const writeLarge = async (
  database: Database,
  place: Place,
  entry: StoredEntry & { readonly kind: "file" },
  pace: Pace,
): Promise<void> => {
  const id = await database.transaction((db) => insertEntry(db, place, entry));
  for (let at = 0; at < entry.bytes.length; at += largeBytes) {
    const bytes = entry.bytes.subarray(at, at + largeBytes);
    await pace(bytes.length);
    await database.transaction((db) => addChunks(db, id, at, bytes, pace));
  }
};

/** Writes ahead what a large commit brings. Whatever comes of that commit, `clearStaged` must follow. */
const stage = async (
  database: Database,
  kind: FileScope["kind"],
  changes: readonly FileChange[],
  now: number,
): Promise<Staged> => {
  if (!isLarge(changes)) return { rest: changes };
  const owner = `ahead/${now}/${newUuid()}`;
  const entries: StoredEntry[] = [];
  const removed: string[] = [];
  const rest: FileChange[] = [];
  for (const change of changes) {
    assertInside(change.path);
    if (change.kind === "append") rest.push(change);
    else if (change.kind === "remove") removed.push(change.path);
    else entries.push(change);
  }
  const staged: Staged = { rest, ahead: { owner, entries: entries.length, removed } };
  const pace = createPace();
  try {
    for (const batch of batchesOf(entries)) {
      await pace(largeBytes);
      const [first] = batch;
      if (first?.kind === "file" && first.bytes.length > largeBytes)
        await writeLarge(database, { kind, owner }, first, pace);
      else await database.transaction((db) => changeFiles(db, { kind, owner }, batch));
    }
  } catch (error) {
    await clearStaged(database, staged);
    throw error;
  }
  return staged;
};

/** Within a transaction. How many bytes have gone from the scope. */
const putAway = async (
  db: Kysely<Tables>,
  { kind, owner }: Place,
  paths: readonly string[],
  away: string,
): Promise<number> => {
  const { rows } = await sql<{ size: number }>`
    update files set owner = ${away}
    where kind = ${kind} and owner = ${owner} and path in (select value from json_each(${JSON.stringify(paths)}))
    returning size`.execute(db);
  return rows.reduce((sum, { size }) => sum + size, 0);
};

/** Within a transaction. By how many bytes the scope has grown. */
const adopt = async (db: Kysely<Tables>, place: Place, ahead: Ahead): Promise<number> => {
  const away = replacedBy(ahead.owner);
  const pace = createPace();
  let grown = 0;
  for (let from = 0; from < ahead.removed.length; from += entriesAtOnce) {
    grown -= await putAway(db, place, ahead.removed.slice(from, from + entriesAtOnce), away);
    await pace(largeBytes);
  }
  let adopted = 0;
  for (;;) {
    const { rows } = await sql<{ id: number; path: string; size: number }>`
      select id, path, size from files where kind = ${place.kind} and owner = ${ahead.owner}
      limit ${entriesAtOnce}`.execute(db);
    if (rows.length === 0) break;
    const paths = rows.map(({ path }) => path);
    grown -= await putAway(db, place, paths, away);
    await sql`
      update files set owner = ${place.owner}
      where id in (select value from json_each(${JSON.stringify(rows.map(({ id }) => id))}))`.execute(db);
    grown += rows.reduce((sum, { size }) => sum + size, 0);
    adopted += rows.length;
    await pace(largeBytes);
  }
  if (adopted !== ahead.entries)
    throw new SquadronError("internal", "What a commit had written ahead is there no more.");
  return grown;
};

/** Within a transaction. By how many bytes the scope has grown; throws `internal` when a change does not fit. */
export const applyStaged = async (
  db: Kysely<Tables>,
  scope: FileScope,
  { rest, ahead }: Staged,
): Promise<number> => {
  const place = placeOf(scope);
  const grown = await changeFiles(db, place, rest);
  return ahead === undefined ? grown : grown + (await adopt(db, place, ahead));
};

/** Within a transaction: a part of what an owner has; false when there was nothing. */
const removeSome = async (db: Kysely<Tables>, owner: string): Promise<boolean> => {
  const { rows } = await sql<{ id: number; size: number }>`
    select id, size from files where kind in ('session', 'unit') and owner = ${owner}
    limit ${entriesAtOnce}`.execute(db);
  const [first] = rows;
  if (first === undefined) return false;
  if (first.size > largeBytes) {
    const chunks = await sql`
      delete from file_chunks where id in (
        select id from file_chunks where file_id = ${first.id} limit ${largeBytes / bytesAtOnce})`.execute(
      db,
    );
    if (chunks.numAffectedRows !== 0n) return true;
  }
  let bytes = first.size;
  const ids = [first.id];
  for (const { id, size } of rows.slice(1)) {
    bytes += size;
    if (bytes > largeBytes) break;
    ids.push(id);
  }
  await sql`delete from files where id in (select value from json_each(${JSON.stringify(ids)}))`.execute(db);
  return true;
};

const clear = async (database: Database, owner: string): Promise<void> => {
  const pace = createPace();
  while (await database.transaction((db) => removeSome(db, owner))) await pace(largeBytes);
};

/** Removes what is left of a commit that has been stored or refused. What cannot be removed now goes with `clearStale`. */
const clearStaged = async (database: Database, { ahead }: Staged): Promise<void> => {
  if (ahead === undefined) return;
  try {
    await clear(database, ahead.owner);
    await clear(database, replacedBy(ahead.owner));
  } catch (error) {
    // The commit is what it is, and nobody sees these.
    if (!(error instanceof SquadronError && error.code === "store_unavailable")) throw error;
  }
};

/**
 * A transaction that changes files of a session, of its unit or of both: `work` applies what is staged of each. Rejects
 * as `work` does, or with `internal` when a change has a path that none can have; nothing is stored then.
 */
export const withStaged = async <Result>(
  database: Database,
  now: number,
  changes: Readonly<Record<FileScope["kind"], readonly FileChange[]>>,
  work: (db: Transaction<Tables>, staged: Readonly<Record<FileScope["kind"], Staged>>) => Promise<Result>,
): Promise<Result> => {
  const session = await stage(database, "session", changes.session, now);
  try {
    const unit = await stage(database, "unit", changes.unit, now);
    try {
      return await database.transaction((db) => work(db, { session, unit }));
    } finally {
      await clearStaged(database, unit);
    }
  } finally {
    await clearStaged(database, session);
  }
};

/** Removes what commits have left over which a node died. */
export const clearStale = async (database: Database, now: number): Promise<void> => {
  const { rows } = await database.query((db) =>
    sql<{ owner: string }>`
      select distinct owner from files
      where kind in ('session', 'unit') and owner >= 'ahead/' and owner < 'ahead0'`.execute(db),
  );
  for (const { owner } of rows) if (Number(owner.split("/")[1]) < now - staleMs) await clear(database, owner);
};
