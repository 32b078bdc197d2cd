import { setTimeout as sleep } from "node:timers/promises";
import BetterSqlite from "better-sqlite3";
import {
  CompiledQuery,
  type DatabaseConnection,
  type Dialect,
  type Driver,
  SqliteAdapter,
  type SqliteDatabase,
  SqliteDriver,
  SqliteIntrospector,
  SqliteQueryCompiler,
} from "kysely";
import { LRUCache } from "lru-cache";

/** How often one that meets a lock looks again. */
const busyPollMs = 5;

/** Texts of SQL that are kept prepared: nearly all that a node ever uses. */
const maxStatements = 200;

const isBusy = (error: unknown): boolean =>
  error instanceof BetterSqlite.SqliteError && error.code.startsWith("SQLITE_BUSY");

/** Kysely does not say so, but SQLite does: a migration that fails leaves nothing, and two do not mix. */
class TransactionalAdapter extends SqliteAdapter {
  override get supportsTransactionalDdl(): boolean {
    return true;
  }
}

const patient = (connection: DatabaseConnection, busyMs: number): DatabaseConnection => ({
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

/** Prepares a text once: that costs as much time as running what it says. */
const preparedOnce = (database: BetterSqlite.Database): SqliteDatabase => {
  const statements = new LRUCache<string, BetterSqlite.Statement>({ max: maxStatements });
  return {
    prepare(text) {
      const known = statements.get(text);
      if (known !== undefined) return known;
      const statement = database.prepare(text);
      statements.set(text, statement);
      return statement;
    },
    close: () => database.close(),
  };
};

/**
 * Kysely's own dialect with three differences. A transaction takes the write lock at its beginning, since one that read
 * first could never get it after another's write. And who meets a lock waits without blocking the event loop:
 * SQLite's busy timeout would stop the whole node, and wait for ever for a transaction of the same process. And a
 * transaction that SQLite has undone by itself, as on a full disk, is not undone again: that would be an error of its own.
 * `busyMs` is how long a statement waits for another process's write.
 */
export const sqliteDialect = (database: BetterSqlite.Database, { busyMs }: { busyMs: number }): Dialect => ({
  createAdapter: () => new TransactionalAdapter(),
  createQueryCompiler: () => new SqliteQueryCompiler(),
  createIntrospector: (db) => new SqliteIntrospector(db),
  createDriver: (): Driver => {
    const driver = new SqliteDriver({ database: preparedOnce(database) });
    let connection: DatabaseConnection | undefined;
    return {
      init: () => driver.init(),
      acquireConnection: async () => {
        connection ??= patient(await driver.acquireConnection(), busyMs);
        return connection;
      },
      beginTransaction: async (on) => {
        await on.executeQuery(CompiledQuery.raw("begin immediate"));
      },
      commitTransaction: (on) => driver.commitTransaction(on),
      rollbackTransaction: async (on) => {
        if (database.inTransaction) await driver.rollbackTransaction(on);
      },
      releaseConnection: () => driver.releaseConnection(),
      destroy: () => driver.destroy(),
    };
  },
});
