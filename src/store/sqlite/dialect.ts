import { setTimeout as sleep } from "node:timers/promises";
import BetterSqlite from "better-sqlite3";
import {
  CompiledQuery,
  type DatabaseConnection,
  type Dialect,
  type Driver,
  SqliteAdapter,
  SqliteDriver,
  SqliteIntrospector,
  SqliteQueryCompiler,
} from "kysely";

/** How long a statement waits for another process's write, and how often it looks. */
const busyMs = 5_000;
const busyPollMs = 5;

const isBusy = (error: unknown): boolean =>
  error instanceof BetterSqlite.SqliteError && error.code.startsWith("SQLITE_BUSY");

/** Kysely does not say so, but SQLite does: a migration that fails leaves nothing, and two do not mix. */
class TransactionalAdapter extends SqliteAdapter {
  override get supportsTransactionalDdl(): boolean {
    return true;
  }
}

const patient = (connection: DatabaseConnection): DatabaseConnection => ({
  async executeQuery(query) {
    const end = performance.now() + busyMs;
    for (;;) {
      try {
        return await connection.executeQuery(query);
      } catch (error) {
        if (!isBusy(error) || performance.now() >= end) throw error;
      }
      await sleep(busyPollMs);
    }
  },
  streamQuery: (query, chunkSize) => connection.streamQuery(query, chunkSize),
});

/**
 * Kysely's own dialect with two differences. A transaction takes the write lock at its beginning, since one that read
 * first could never get it after another's write. And who meets a lock waits without blocking the event loop:
 * SQLite's busy timeout would stop the whole node, and wait for ever for a transaction of the same process.
 */
export const sqliteDialect = (database: BetterSqlite.Database): Dialect => ({
  createAdapter: () => new TransactionalAdapter(),
  createQueryCompiler: () => new SqliteQueryCompiler(),
  createIntrospector: (db) => new SqliteIntrospector(db),
  createDriver: (): Driver => {
    const driver = new SqliteDriver({ database });
    let connection: DatabaseConnection | undefined;
    return {
      init: () => driver.init(),
      acquireConnection: async () => {
        connection ??= patient(await driver.acquireConnection());
        return connection;
      },
      beginTransaction: async (on) => {
        await on.executeQuery(CompiledQuery.raw("begin immediate"));
      },
      commitTransaction: (on) => driver.commitTransaction(on),
      rollbackTransaction: (on) => driver.rollbackTransaction(on),
      releaseConnection: () => driver.releaseConnection(),
      destroy: () => driver.destroy(),
    };
  },
});
