import { createHash } from "node:crypto";
import { type Kysely, sql } from "kysely";
import { SquadronError } from "../../kernel/errors.ts";
import { bytesAtOnce, createPace, type Pace } from "../../kernel/pace.ts";
import type { FileChange, FileScope, StoredEntry } from "../store.ts";
import type { Tables } from "./tables.ts";

/** A file is read as one large chunk and a tail of at most so many small ones. */
const maxTail = 32;
/** A chunk of this size is not put together with others any more, so that no commit has to write much more than it brings. */
const fullChunkBytes = bytesAtOnce;
/** Chunks removed by one statement, if they are small. */
const chunksAtOnce = 64;

const maxPathLength = 4_096;

type Change<Kind extends FileChange["kind"]> = Extract<FileChange, { kind: Kind }>;

/** Whose files, in the columns of the table. */
export interface Place {
  readonly kind: FileScope["kind"];
  readonly owner: string;
}

export const placeOf = (scope: FileScope): Place => ({
  kind: scope.kind,
  owner: scope.kind === "session" ? scope.id : scope.key,
});

export const sha256 = (bytes: Uint8Array): Buffer => createHash("sha256").update(bytes).digest();

export const damaged = (path: string): SquadronError =>
  new SquadronError("internal", `The stored file ${path} is damaged; restore the store from a backup.`);

const isInside = (path: string): boolean =>
  path.length <= maxPathLength &&
  path.isWellFormed() &&
  !path.includes("\0") &&
  path.split("/").every((part) => part !== "" && part !== "." && part !== "..");

export const assertInside = (path: string): void => {
  if (!isInside(path))
    throw new SquadronError("internal", `${JSON.stringify(path)} is no path of a stored file.`);
};

const placed = ({ kind, owner }: Place, path: string | undefined) =>
  path === undefined
    ? sql`kind = ${kind} and owner = ${owner}`
    : sql`kind = ${kind} and owner = ${owner} and path = ${path}`;

const isTarget = (target: string): boolean =>
  target !== "" && target.length <= maxPathLength && target.isWellFormed() && !target.includes("\0");

const addChunk = (db: Kysely<Tables>, fileId: number, at: number, bytes: Uint8Array) =>
  sql`insert into file_chunks (file_id, at, sha256, bytes) values (${fileId}, ${at}, ${sha256(bytes)}, ${bytes})`.execute(
    db,
  );

export const addChunks = async (
  db: Kysely<Tables>,
  fileId: number,
  start: number,
  bytes: Uint8Array,
  pace: Pace,
): Promise<void> => {
  for (let at = 0; at < bytes.length; at += fullChunkBytes) {
    const chunk = bytes.subarray(at, at + fullChunkBytes);
    await pace(chunk.length);
    await addChunk(db, fileId, start + at, chunk);
  }
};

/** Puts the tail of a file together with the last chunk before it, unless that is full. */
const compact = async (db: Kysely<Tables>, fileId: number, path: string): Promise<void> => {
  const sizes = await sql<{ at: number; size: number }>`
    select at, length(bytes) as size from file_chunks where file_id = ${fileId} order by at desc`.execute(db);
  const full = sizes.rows.find(({ size }) => size >= fullChunkBytes);
  const start = full === undefined ? 0 : full.at + full.size;
  const { rows } = await sql<Chunk>`
    select at, sha256, bytes from file_chunks where file_id = ${fileId} and at >= ${start} order by at`.execute(
    db,
  );
  if (rows.length > 0) {
    const bytes = joined(rows, start, path);
    await sql`delete from file_chunks where file_id = ${fileId} and at >= ${start}`.execute(db);
    await addChunk(db, fileId, start, bytes);
  }
  await sql`update files set tail = 0 where id = ${fileId}`.execute(db);
};

export interface Chunk {
  readonly at: number;
  readonly sha256: Buffer;
  readonly bytes: Buffer;
}

/** The bytes of chunks that follow each other from `start` on. */
const joined = (chunks: readonly Chunk[], start: number, path: string): Buffer => {
  let next = start;
  for (const { at, sha256: stored, bytes } of chunks) {
    if (at !== next || !sha256(bytes).equals(stored)) throw damaged(path);
    next += bytes.length;
  }
  const [only] = chunks;
  return chunks.length === 1 && only !== undefined
    ? only.bytes
    : Buffer.concat(chunks.map((one) => one.bytes));
};

/** Removes the chunks of files, whose own rows go next: what a file has takes long to free when it is large. */
const removeChunks = async (
  db: Kysely<Tables>,
  place: Place,
  path: string | undefined,
  pace: Pace,
): Promise<void> => {
  const { rows } = await sql<{ id: number; size: number }>`
    select file_chunks.id, length(bytes) as size from files join file_chunks on file_id = files.id
    where ${placed(place, path)}`.execute(db);
  for (let from = 0, to = 0; from < rows.length; from = to) {
    let bytes = 0;
    for (; to < rows.length && to - from < chunksAtOnce && bytes < bytesAtOnce; to++)
      bytes += rows[to]?.size ?? 0;
    const ids = JSON.stringify(rows.slice(from, to).map(({ id }) => id));
    await pace(bytes);
    await sql`delete from file_chunks where id in (select value from json_each(${ids}))`.execute(db);
  }
};

const append = async (
  db: Kysely<Tables>,
  { kind, owner }: Place,
  { path, at, bytes }: Change<"append">,
  pace: Pace,
): Promise<number> => {
  const added = Math.ceil(bytes.length / fullChunkBytes);
  const { rows } = await sql<{ id: number; tail: number }>`
    update files set size = size + ${bytes.length}, tail = tail + ${added}
    where kind = ${kind} and owner = ${owner} and path = ${path} and entry = 'file' and size = ${at}
    returning id, tail`.execute(db);
  const [file] = rows;
  if (file === undefined)
    throw new SquadronError(
      "internal",
      `What was added to ${path} at byte ${at} does not fit what is stored.`,
    );
  await addChunks(db, file.id, at, bytes, pace);
  if (file.tail > maxTail) await compact(db, file.id, path);
  return bytes.length;
};

const remove = async (db: Kysely<Tables>, place: Place, path: string, pace: Pace): Promise<number> => {
  const { rows } = await sql<{ id: number; size: number }>`
    select id, size from files where ${placed(place, path)}`.execute(db);
  const [file] = rows;
  if (file === undefined) return 0;
  if (file.size > bytesAtOnce) await removeChunks(db, place, path, pace);
  await sql`delete from files where id = ${file.id}`.execute(db);
  return -file.size;
};

/** The columns of an entry beside its path. */
const columnsOf = (entry: StoredEntry): { size: number; mode: number; target: string | null } => {
  switch (entry.kind) {
    case "file":
      return { size: entry.bytes.length, mode: entry.mode, target: null };
    case "directory":
      return { size: 0, mode: entry.mode, target: null };
    case "link":
      if (!isTarget(entry.target))
        throw new SquadronError("internal", `${JSON.stringify(entry.target)} is no text of a stored link.`);
      return { size: Buffer.byteLength(entry.target), mode: 0, target: entry.target };
  }
};

/** Within a transaction. A new entry, of a file without its bytes; its id. */
export const insertEntry = async (db: Kysely<Tables>, place: Place, entry: StoredEntry): Promise<number> => {
  assertInside(entry.path);
  const { size, mode, target } = columnsOf(entry);
  const { rows } = await sql<{ id: number }>`
    insert into files (kind, owner, path, entry, mode, size, target, tail)
    values (${place.kind}, ${place.owner}, ${entry.path}, ${entry.kind}, ${mode}, ${size}, ${target}, 0)
    returning id`.execute(db);
  const [made] = rows;
  if (made === undefined) throw new SquadronError("internal", `${entry.path} was not stored.`);
  return made.id;
};

/** Puts an entry in place of what has its path. */
const put = async (db: Kysely<Tables>, place: Place, entry: StoredEntry, pace: Pace): Promise<number> => {
  const removed = await remove(db, place, entry.path, pace);
  const id = await insertEntry(db, place, entry);
  if (entry.kind === "file") await addChunks(db, id, 0, entry.bytes, pace);
  return removed + columnsOf(entry).size;
};

/** Within a transaction. By how many bytes the place has grown; throws `internal` when a change does not fit. */
export const changeFiles = async (
  db: Kysely<Tables>,
  place: Place,
  changes: readonly FileChange[],
): Promise<number> => {
  const pace = createPace();
  let grown = 0;
  for (const change of changes) {
    await pace();
    assertInside(change.path);
    switch (change.kind) {
      case "append":
        grown += await append(db, place, change, pace);
        break;
      case "remove":
        grown += await remove(db, place, change.path, pace);
        break;
      default:
        grown += await put(db, place, change, pace);
    }
  }
  return grown;
};

/** Within a transaction. */
export const removeFiles = async (db: Kysely<Tables>, scope: FileScope): Promise<void> => {
  const place = placeOf(scope);
  await removeChunks(db, place, undefined, createPace());
  await sql`delete from files where ${placed(place, undefined)}`.execute(db);
};
