import { lstat, mkdir, realpath, rename, rm } from "node:fs/promises";
import { join } from "node:path";
import { parse } from "yaml";
import type { Clock } from "../kernel/clock.ts";
import { SquadronError } from "../kernel/errors.ts";
import { newUuid } from "../kernel/ids.ts";
import type { Isolation } from "../kernel/isolation.ts";
import { isObject } from "../kernel/json.ts";
import type { NewSession, OwnedSession, Store, StoredEntry, StoredFile } from "../store/store.ts";
import type { FileBounds } from "./file-bounds.ts";
import { beginOf, logPath, renamedLog, renamedWorkspace, workspacePath } from "./history-ids.ts";
import { recordOfLog } from "./history-record.ts";
import { newSession } from "./new-session.ts";
import { isPassing, isSessionLog } from "./roots.ts";
import { openWorkingCopy, restoreFiles } from "./working-copy.ts";

const maxTitleLength = 500;
/** What runtimes take as the id of a session. */
const runtimeId = /^[A-Za-z0-9_-]{1,200}$/;

const ofBytes = (bytes: Uint8Array): Buffer => Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);

/** The files of a session under another id: a runtime goes by the id that they name, not by their directory's. */
const renamed = (files: readonly StoredEntry[], from: string, to: string): readonly StoredEntry[] =>
  files.map((file) => {
    if (file.kind !== "file") return file;
    if (file.path === logPath) return { ...file, bytes: renamedLog(ofBytes(file.bytes), from, to) };
    if (file.path === workspacePath) return { ...file, bytes: renamedWorkspace(ofBytes(file.bytes), to) };
    return file;
  });

const fileAt = (files: readonly StoredEntry[], path: string): StoredFile | undefined =>
  files.find((file): file is StoredFile => file.kind === "file" && file.path === path);

const countOf = (files: readonly StoredEntry[]): number => files.filter(({ kind }) => kind === "file").length;

const logOf = (files: readonly StoredEntry[]): Buffer => {
  const log = fileAt(files, logPath);
  return log === undefined ? Buffer.alloc(0) : ofBytes(log.bytes);
};

const unusable = (message: string, cause?: unknown): SquadronError =>
  new SquadronError("invalid_request", message, cause === undefined ? {} : { cause });

/** Follows no link below the directory. Rejects with `too_large`, or with `invalid_request` when it cannot be read. */
const readDirectory = async (directory: string, bounds: FileBounds): Promise<readonly StoredEntry[]> => {
  const base = await realpath(directory).catch((error: unknown) => {
    throw unusable(`There is no directory ${directory}.`, error);
  });
  const roots = [{ base, path: [], prefix: "", ignore: isPassing, isLog: isSessionLog }];
  const { files } = await openWorkingCopy({ roots, bounds }).changes();
  return files.filter((change) => change.kind !== "append" && change.kind !== "remove");
};

/** What the session was called, as its lists show it. */
const titleOf = (files: readonly StoredEntry[]): string | null => {
  const workspace = fileAt(files, workspacePath);
  if (workspace === undefined) return null;
  try {
    const read: unknown = parse(ofBytes(workspace.bytes).toString("utf8"));
    return isObject(read) && typeof read.name === "string" && read.name !== ""
      ? read.name.toWellFormed().slice(0, maxTitleLength).toWellFormed()
      : null;
  } catch {
    // The title is an ornament; what the session is stands in its log.
    return null;
  }
};

/** Whose a session becomes. */
export interface ArchiveOwner {
  readonly tenant: string;
  readonly user: string;
}

export interface ImportOptions {
  readonly store: Store;
  readonly clock: Clock;
  readonly directory: string;
  readonly owner: ArchiveOwner;
  readonly isolation: Isolation;
  /** Of the session's files. */
  readonly bounds: FileBounds;
  readonly name?: string;
}

export interface Imported {
  readonly session: NewSession;
  readonly name: string;
  readonly files: number;
  readonly sizeBytes: number;
}

/**
 * Takes the directory of a session of a bare runtime (`<COPILOT_HOME>/session-state/<id>`), which must not use it any more,
 * into the store. Its owner knows it by `name`, or by its old id. Limits of how many sessions there may be do not count here.
 * Rejects with `invalid_request` when the directory holds no session, `name_taken`, `too_large`, `store_unavailable`;
 * nothing is kept then.
 */
export const importSession = async (options: ImportOptions): Promise<Imported> => {
  const { store, clock, directory, owner, isolation, bounds } = options;
  const files = await readDirectory(directory, bounds);
  const log = logOf(files);
  const begin = beginOf(log);
  if (begin === undefined)
    throw unusable(
      `${directory} holds no session: ${logPath}, which begins with session.start, is not there. Name a directory such as ~/.copilot/session-state/ID.`,
    );
  const now = clock.now();
  const name = options.name ?? begin.id;
  const session: NewSession = {
    ...newSession(owner, isolation, now),
    createdAt: begin.startedAt ?? now,
    title: titleOf(files),
    record: JSON.stringify(recordOfLog(log)),
  };
  const { id } = session;
  if ((await store.sessions.create(session, name)) === "name_taken")
    throw new SquadronError("name_taken", `${owner.user} has a session named ${name} already.`);
  try {
    const taken = await store.state.acquire(id, now);
    if (taken === undefined) throw new SquadronError("session_deleted", "The session was deleted meanwhile.");
    const changes = renamed(files, begin.id, id);
    const { sizeBytes } = await store.state.commit({
      sessionId: id,
      ...taken,
      files: changes,
      maxBytes: bounds.maxBytes,
    });
    await store.sessions.update(id, { createdUpstream: true });
    return { session: { ...session, createdUpstream: true }, name, files: countOf(files), sizeBytes };
  } catch (error) {
    await store.sessions.delete(id);
    throw error;
  }
};

/** A link that a session's user has left there would lead whoever uses the written directory anywhere on this host. */
const isOwn = ({ kind }: StoredEntry): boolean => kind !== "link";

const isAbsent = (error: unknown): false => {
  if (error instanceof Error && "code" in error && error.code === "ENOENT") return false;
  throw error;
};

/** A user's session by the user's own name for it or by its public id. Rejects with `session_not_found`. */
const find = async (store: Store, { tenant, user }: ArchiveOwner, which: string): Promise<OwnedSession> => {
  const found =
    (await store.sessions.byName(tenant, user, which)) ??
    (await store.sessions.byPublicId(which, tenant, user));
  if (found !== undefined && !found.ephemeral) return found;
  throw new SquadronError("session_not_found", `${user} of ${tenant} has no session ${which}.`);
};

export interface Exported {
  readonly publicId: string;
  /** What to resume. */
  readonly id: string;
  readonly directory: string;
  readonly files: number;
}

/**
 * Writes a session as it was last stored into `<to>/<id>`, where `to` is the `session-state` of a bare runtime, which can
 * then resume it. Its id there is `id`, or the user's name for it, or a new one if that cannot be an id. The working
 * directory of its unit is not part of it. Rejects with `session_not_found`, with `invalid_request` when it has no history
 * yet or something is in the way; nothing is left then.
 */
export const exportSession = async (options: {
  readonly store: Store;
  readonly owner: ArchiveOwner;
  /** The user's own name for it, or its public id. */
  readonly session: string;
  readonly to: string;
  readonly id?: string;
}): Promise<Exported> => {
  const { store, owner, to } = options;
  if (options.id !== undefined && !runtimeId.test(options.id))
    throw unusable("The id may have letters, digits, _ and - only, 1 to 200 of them.");
  const found = await find(store, owner, options.session);
  const files = (await store.state.files({ kind: "session", id: found.id })).filter(isOwn);
  const begin = beginOf(logOf(files));
  if (begin === undefined) throw unusable("The session has no history yet: nothing of it has been stored.");
  const id = options.id ?? (runtimeId.test(found.name) ? found.name : newUuid());
  await mkdir(to, { recursive: true, mode: 0o700 });
  const base = await realpath(to);
  const directory = join(base, id);
  if (await lstat(directory).then(() => true, isAbsent))
    throw unusable(`${directory} is there already; give the session another id, or remove it.`);
  const partial = `.${id}.partial`.slice(-200);
  try {
    await restoreFiles({
      roots: [{ base, path: [partial], prefix: "", ignore: () => false, isLog: isSessionLog }],
      files: renamed(files, begin.id, id),
      bounds: { maxBytes: Number.MAX_SAFE_INTEGER, maxFiles: Number.MAX_SAFE_INTEGER },
      owner: undefined,
    });
    await rename(join(base, partial), directory);
  } catch (error) {
    await rm(join(base, partial), { recursive: true, force: true });
    throw error;
  }
  return { publicId: found.publicId, id, directory, files: countOf(files) };
};
