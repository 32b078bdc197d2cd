import { chmod, mkdir, open } from "node:fs/promises";
import { dirname, resolve } from "node:path";
import BetterSqlite from "better-sqlite3";
import { CamelCasePlugin, Kysely, sql, type Transaction } from "kysely";
import { Migrator } from "kysely/migration";
import { SquadronError } from "../../kernel/errors.ts";
import { sqliteDialect } from "./dialect.ts";
import { migrations } from "./migrations.ts";
import type { Tables } from "./tables.ts";

/** How long one waits for another process's write; while the file is opened, nothing else runs meanwhile. */
const defaultBusyMs = 5_000;

/** The seam between the query modules and SQLite: asynchronous, and its failures are `store_unavailable`. */
export interface Database {
  query<Result>(work: (db: Kysely<Tables>) => Promise<Result>): Promise<Result>;
  /** All or nothing; the only writer from its first statement on. */
  transaction<Result>(work: (db: Transaction<Tables>) => Promise<Result>): Promise<Result>;
  /**
   * A transaction that does not wait for the disk: for what means nothing any more when the whole machine has lost its
   * power. Other processes see it at once, and it is never lost before something that was stored after it.
   */
  passing<Result>(work: (db: Transaction<Tables>) => Promise<Result>): Promise<Result>;
  close(): Promise<void>;
}

/** Did a write fail because such a row exists? */
export const isDuplicate = (error: unknown): boolean => {
  const cause = error instanceof SquadronError ? error.cause : error;
  return (
    cause instanceof BetterSqlite.SqliteError &&
    (cause.code === "SQLITE_CONSTRAINT_PRIMARYKEY" || cause.code === "SQLITE_CONSTRAINT_UNIQUE")
  );
};

const unavailable = (which: string, error: unknown): SquadronError =>
  error instanceof SquadronError
    ? error
    : new SquadronError("store_unavailable", `${which} cannot be used: ${reason(error)}`, { cause: error });

const reason = (error: unknown): string => (error instanceof Error ? error.message : "unknown reason.");

const openFile = async (path: string, busyMs: number): Promise<BetterSqlite.Database> => {
  // Its names cannot be listed, but the users of boxes may pass through to theirs.
  await mkdir(dirname(path), { recursive: true, mode: 0o711 });
  // SQLite gives its journal the mode of the database file.
  await (await open(path, "a", 0o600)).close();
  await chmod(path, 0o600);
  const file = new BetterSqlite(path, { timeout: busyMs });
  try {
    file.pragma("journal_mode = WAL");
    file.pragma("synchronous = FULL");
    file.pragma("foreign_keys = ON");
    // From here on the dialect waits for locks, without stopping the node's only thread.
    file.pragma("busy_timeout = 0");
    return file;
  } catch (error) {
    file.close();
    throw error;
  }
};

const migrate = async (db: Kysely<Tables>): Promise<void> => {
  const migrator = new Migrator({ db, provider: { getMigrations: async () => migrations } });
  const { error } = await migrator.migrateToLatest();
  if (error !== undefined) throw error;
};

/** Opens the file, made (0600, directory 0700) and migrated if need be. `busyMs`: wait for another process's write. */
export const openDatabase = async (
  file: string,
  { busyMs = defaultBusyMs }: { readonly busyMs?: number } = {},
): Promise<Database> => {
  const path = resolve(file);
  const guard = async <Result>(work: () => Promise<Result>, which = "The store"): Promise<Result> => {
    try {
      return await work();
    } catch (error) {
      throw unavailable(which, error);
    }
  };

  const openAndMigrate = async () => {
    const database = await openFile(path, busyMs);
    const db = new Kysely<Tables>({
      dialect: sqliteDialect(database, { busyMs }),
      plugins: [new CamelCasePlugin()],
    });
    try {
      await migrate(db);
      return db;
    } catch (error) {
      database.close();
      throw error;
    }
  };
  // Only who starts the node is told where it is: later failures are told to clients.
  const db = await guard(openAndMigrate, `The store ${path}`);

  return {
    query: (work) => guard(() => work(db)),
    transaction: (work) => guard(() => db.transaction().execute(work)),
    passing: (work) =>
      guard(() =>
        db.connection().execute(async (only) => {
          await sql`pragma synchronous = normal`.execute(only);
          try {
            return await only.transaction().execute(work);
          } finally {
            await sql`pragma synchronous = full`.execute(only);
          }
        }),
      ),
    close: () => guard(() => db.destroy()),
  };
};
