import { mkdir, readFile, writeFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import BetterSqlite from "better-sqlite3";
import { SquadronError } from "../kernel/errors.ts";
import { newUuid } from "../kernel/ids.ts";

/** The right to run on a state directory, held until released or until the process ends, however it ends. */
export interface StateLock {
  /** Names the directory as long as it exists, wherever it is mounted: only one process at a time can be its node. */
  readonly directory: string;
  /** Lets the next node in; a second call does nothing. */
  release(): Promise<void>;
}

/**
 * Takes the state directory (made 0700 if need be) for this process alone, without waiting.
 * Rejects with `config_invalid` when a node runs on it, or when it cannot be used.
 */
export const lockState = async (statePath: string): Promise<StateLock> => {
  const file = await take(statePath);
  if (file === undefined)
    throw new SquadronError(
      "config_invalid",
      `Another node runs on the state directory ${resolve(statePath)}: stop it, or give this one its own state.path (and store.url).`,
    );
  try {
    return {
      directory: await identityOf(resolve(statePath)),
      release: async () => {
        file.close();
      },
    };
  } catch (error) {
    file.close();
    throw unusable(resolve(statePath), error);
  }
};

/** Only who has the lock may ask. */
const identityOf = async (directory: string): Promise<string> => {
  const path = join(directory, "identity");
  const known = await readFile(path, "utf8").catch((error: NodeJS.ErrnoException) => {
    if (error.code !== "ENOENT") throw error;
    return "";
  });
  if (known !== "") return known;
  const made = newUuid();
  await writeFile(path, made, { mode: 0o600 });
  return made;
};

/** Does a node run on this state directory? Makes the directory if need be, and rejects as `lockState` when it cannot be used. */
export const isStateLocked = async (statePath: string): Promise<boolean> => {
  const file = await take(statePath);
  file?.close();
  return file === undefined;
};

/**
 * SQLite's lock is the kernel's and goes with the process, so that no pid has to be judged. `undefined` when it is held.
 * The file must be opened by SQLite only: a process that closes it by other means loses its lock.
 */
const take = async (statePath: string): Promise<BetterSqlite.Database | undefined> => {
  const directory = resolve(statePath);
  try {
    await mkdir(directory, { recursive: true, mode: 0o711 });
    const file = new BetterSqlite(join(directory, "lock.db"), { timeout: 0 });
    try {
      file.pragma("journal_mode = MEMORY");
      file.exec("BEGIN EXCLUSIVE");
      return file;
    } catch (error) {
      file.close();
      if (isBusy(error)) return undefined;
      throw error;
    }
  } catch (error) {
    throw unusable(directory, error);
  }
};

const unusable = (directory: string, error: unknown): SquadronError => {
  const reason = error instanceof Error ? error.message : "unknown reason";
  return new SquadronError("config_invalid", `The state directory ${directory} cannot be used: ${reason}.`, {
    cause: error,
  });
};

const isBusy = (error: unknown): boolean =>
  error instanceof BetterSqlite.SqliteError && error.code.startsWith("SQLITE_BUSY");
