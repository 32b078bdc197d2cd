import type { Kysely } from "kysely";
import { createPace } from "../../kernel/pace.ts";
import type { FileScope, StoredEntry } from "../store.ts";
import { type Chunk, damaged, placeOf, sha256 } from "./files.ts";
import type { Tables } from "./tables.ts";

interface EntryRow {
  readonly path: string;
  readonly entry: StoredEntry["kind"];
  readonly mode: number;
  readonly size: number;
  readonly target: string | null;
}

/** An entry of which not all chunks may have been read. */
interface Reading {
  readonly row: EntryRow;
  bytes: Buffer | undefined;
  read: number;
}

const add = (reading: Reading, { at, sha256: stored, bytes }: Chunk): void => {
  const { path, size } = reading.row;
  const end = at + bytes.length;
  if (at !== reading.read || end > size || !sha256(bytes).equals(stored)) throw damaged(path);
  if (bytes.length === size) reading.bytes = bytes;
  else {
    reading.bytes ??= Buffer.allocUnsafe(size);
    bytes.copy(reading.bytes, at);
  }
  reading.read = end;
};

const entryOf = ({ row: { path, entry, mode, size, target }, bytes, read }: Reading): StoredEntry => {
  switch (entry) {
    case "file":
      if (read !== size) throw damaged(path);
      return { kind: "file", path, mode, bytes: bytes ?? Buffer.alloc(0) };
    case "directory":
      return { kind: "directory", path, mode };
    case "link":
      if (target === null) throw damaged(path);
      return { kind: "link", path, target };
  }
};

/**
 * All entries of the scope, or the one at `path`, as they were at one moment; throws `internal` when a file is not as it
 * was written. Read chunk by chunk, so that others may run in between.
 */
export const readFiles = async (
  db: Kysely<Tables>,
  scope: FileScope,
  path?: string,
): Promise<readonly StoredEntry[]> => {
  const { kind, owner } = placeOf(scope);
  const pace = createPace();
  // What is no file, or empty, has no chunk.
  const rows = db
    .selectFrom("files")
    .leftJoin("fileChunks", "fileChunks.fileId", "files.id")
    .select(["path", "entry", "mode", "size", "target", "at", "sha256", "bytes"])
    .where("kind", "=", kind)
    .where("owner", "=", owner)
    .$if(path !== undefined, (all) => all.where("path", "=", path ?? ""))
    .orderBy("path")
    // So that nothing is sorted: what has come is in the order of the indexes.
    .orderBy("files.id")
    .orderBy("at")
    .stream(1);
  const entries: StoredEntry[] = [];
  let last: Reading | undefined;
  for await (const { at, sha256, bytes, ...row } of rows) {
    await pace(bytes?.length);
    if (last?.row.path !== row.path) {
      if (last !== undefined) entries.push(entryOf(last));
      last = { row, bytes: undefined, read: 0 };
    }
    if (at !== null && sha256 !== null && bytes !== null) add(last, { at, sha256, bytes });
  }
  if (last !== undefined) entries.push(entryOf(last));
  return entries;
};
