import { createHash } from "node:crypto";
import { setImmediate as breathe } from "node:timers/promises";
import { type Kysely, sql } from "kysely";
import { SquadronError } from "../../kernel/errors.ts";
import type { FileChange, FileScope, StoredEntry } from "../store.ts";
import type { Tables } from "./tables.ts";

/** A file is read as one large chunk and a tail of at most so many small ones. */
const maxTail = 32;
/** A chunk of this size is not put together with others any more, so that no commit has to write much more than it brings. */
const fullChunkBytes = 4 * 2 ** 20;

const maxPathLength = 4_096;

type Change<Kind extends FileChange["kind"]> = Extract<FileChange, { kind: Kind }>;

interface Place {
  readonly kind: FileScope["kind"];
  readonly owner: string;
}

export const placeOf = (scope: FileScope): Place => ({
  kind: scope.kind,
  owner: scope.kind === "session" ? scope.id : scope.key,
});

const sha256 = (bytes: Uint8Array): Buffer => createHash("sha256").update(bytes).digest();

const damaged = (path: string): SquadronError =>
  new SquadronError("internal", `The stored file ${path} is damaged; restore the store from a backup.`);

const isInside = (path: string): boolean =>
  path.length <= maxPathLength &&
  path.isWellFormed() &&
  !path.includes("\0") &&
  path.split("/").every((part) => part !== "" && part !== "." && part !== "..");

const isTarget = (target: string): boolean =>
  target !== "" && target.length <= maxPathLength && target.isWellFormed() && !target.includes("\0");

const addChunk = (db: Kysely<Tables>, fileId: number, at: number, bytes: Uint8Array) =>
  sql`insert into file_chunks (file_id, at, sha256, bytes) values (${fileId}, ${at}, ${sha256(bytes)}, ${bytes})`.execute(
    db,
  );

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

interface Chunk {
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

const append = async (
  db: Kysely<Tables>,
  { kind, owner }: Place,
  { path, at, bytes }: Change<"append">,
): Promise<number> => {
  const added = bytes.length === 0 ? 0 : 1;
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
  if (added === 1) await addChunk(db, file.id, at, bytes);
  if (file.tail > maxTail) await compact(db, file.id, path);
  return bytes.length;
};

const remove = async (db: Kysely<Tables>, { kind, owner }: Place, path: string): Promise<number> => {
  const { rows } = await sql<{ size: number }>`
    delete from files where kind = ${kind} and owner = ${owner} and path = ${path} returning size`.execute(
    db,
  );
  return -(rows[0]?.size ?? 0);
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

/** Puts an entry in place of what has its path. */
const put = async (db: Kysely<Tables>, place: Place, entry: StoredEntry): Promise<number> => {
  const { path } = entry;
  const { size, mode, target } = columnsOf(entry);
  const removed = await remove(db, place, path);
  const { rows } = await sql<{ id: number }>`
    insert into files (kind, owner, path, entry, mode, size, target, tail)
    values (${place.kind}, ${place.owner}, ${path}, ${entry.kind}, ${mode}, ${size}, ${target}, 0)
    returning id`.execute(db);
  if (entry.kind === "file") {
    for (const { id } of rows) {
      for (let at = 0; at < size; at += fullChunkBytes) {
        // Each is some milliseconds in which the node does nothing else.
        if (at > 0) await breathe();
        await addChunk(db, id, at, entry.bytes.subarray(at, at + fullChunkBytes));
      }
    }
  }
  return removed + size;
};

/** Within a transaction. By how many bytes the scope has grown; throws `internal` when a change does not fit. */
export const changeFiles = async (
  db: Kysely<Tables>,
  scope: FileScope,
  changes: readonly FileChange[],
): Promise<number> => {
  const place = placeOf(scope);
  let grown = 0;
  for (const change of changes) {
    if (!isInside(change.path))
      throw new SquadronError("internal", `${JSON.stringify(change.path)} is no path of a stored file.`);
    switch (change.kind) {
      case "append":
        grown += await append(db, place, change);
        break;
      case "remove":
        grown += await remove(db, place, change.path);
        break;
      default:
        grown += await put(db, place, change);
    }
  }
  return grown;
};

interface FileRow {
  readonly path: string;
  readonly entry: StoredEntry["kind"];
  readonly mode: number;
  readonly size: number;
  readonly target: string | null;
}

const entryOf = ({ path, entry, mode, size, target }: FileRow, chunks: readonly Chunk[]): StoredEntry => {
  switch (entry) {
    case "file": {
      const bytes = joined(chunks, 0, path);
      if (bytes.length !== size) throw damaged(path);
      return { kind: "file", path, mode, bytes };
    }
    case "directory":
      return { kind: "directory", path, mode };
    case "link":
      if (target === null) throw damaged(path);
      return { kind: "link", path, target };
  }
};

/** All entries of the scope, or the one at `path`; throws `internal` when a file is not as it was written. */
export const readFiles = async (
  db: Kysely<Tables>,
  scope: FileScope,
  path?: string,
): Promise<readonly StoredEntry[]> => {
  const { kind, owner } = placeOf(scope);
  // An empty file has no chunk.
  const { rows } = await sql<FileRow & (Chunk | { at: null })>`
    select path, entry, mode, size, target, at, sha256, bytes
    from files left join file_chunks on file_id = files.id
    where kind = ${kind} and owner = ${owner} ${path === undefined ? sql`` : sql`and path = ${path}`}
    order by path, at`.execute(db);
  const found = new Map<string, { file: FileRow; chunks: Chunk[] }>();
  for (const row of rows) {
    const one = found.get(row.path) ?? { file: row, chunks: [] };
    found.set(row.path, one);
    if (row.at !== null) one.chunks.push(row);
  }
  return [...found.values()].map(({ file, chunks }) => entryOf(file, chunks));
};

/** Within a transaction. */
export const removeFiles = async (db: Kysely<Tables>, scope: FileScope): Promise<void> => {
  const { kind, owner } = placeOf(scope);
  await sql`delete from files where kind = ${kind} and owner = ${owner}`.execute(db);
};
