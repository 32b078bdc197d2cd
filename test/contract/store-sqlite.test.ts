import { mkdir, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import BetterSqlite from "better-sqlite3";
import { Kysely, sql } from "kysely";
import { type Migration, Migrator } from "kysely/migration";
import { describe, expect, it } from "vitest";
import { openStore } from "../../src/store/open-store.ts";
import { sqliteDialect } from "../../src/store/sqlite/dialect.ts";
import { ManualClock } from "../support/manual-clock.ts";
import { tempDir } from "../support/temp.ts";
import { held, remove, replace } from "./rows.ts";
import { storeContract } from "./store-contract.ts";

storeContract("SQLite", async () => {
  const dir = await tempDir("store");
  const clock = new ManualClock();
  return {
    clock,
    open: (holder) =>
      openStore(`sqlite:${join(dir.path, "data", "squadron.db")}`, {
        clock,
        ...(holder !== undefined && { holder }),
      }),
    remove: dir.remove,
  };
});

describe("the SQLite file", () => {
  it("is readable by its owner only, with its journal, in a directory that nobody else can list", async () => {
    await using dir = await tempDir("store");
    const path = join(dir.path, "made", "squadron.db");
    const store = await openStore(`sqlite:${path}`);
    await store.ping();
    const mode = async (of: string) => ((await stat(of)).mode & 0o777).toString(8);
    expect(await mode(path)).toBe("600");
    expect(await mode(`${path}-wal`)).toBe("600");
    expect(await mode(join(dir.path, "made"))).toBe("711");
    await store.close();
  });

  it.each([
    { what: "a large file", count: 1, size: 21 * 2 ** 20, atLeast: 9 },
    { what: "a tree of thousands of files", count: 3_000, size: 100, atLeast: 3_000 / 128 },
  ])("lets the node do other things while $what is stored, read and removed", async (given) => {
    await using dir = await tempDir("store");
    const store = await openStore(`sqlite:${join(dir.path, "squadron.db")}`);
    const one = await held(store);
    let others = 0;
    let timer = setImmediate(function again() {
      others++;
      timer = setImmediate(again);
    });
    const othersIn = async <T>(work: () => Promise<T>): Promise<T> => {
      others = 0;
      const result = await work();
      expect(others).toBeGreaterThanOrEqual(given.atLeast);
      return result;
    };
    const bytes = Buffer.alloc(given.size, "0123456789abcdef");
    const files = Array.from({ length: given.count }, (_, at) => replace(`${at}`, bytes.toString()));
    try {
      await othersIn(() => one.commit({ files }));
      const read = await othersIn(() => store.state.files({ kind: "session", id: one.row.id }));
      expect(read).toHaveLength(given.count);
      for (const file of read) expect(file.kind === "file" && bytes.equals(file.bytes)).toBe(true);
      await othersIn(() => one.commit({ files }));
      await othersIn(() => one.commit({ files: files.map(({ path }) => remove(path)) }));
      expect(await one.texts()).toEqual({});
    } finally {
      clearImmediate(timer);
      await store.close();
    }
  });

  it("lets others store in the midst of a large commit, of which nothing is left but what it brought", async () => {
    await using dir = await tempDir("store");
    const path = join(dir.path, "squadron.db");
    const store = await openStore(`sqlite:${path}`);
    using file = closing(new BetterSqlite(path));
    const rows = file.db.prepare("select count(*) from files").pluck();
    const [one, other] = [await held(store), await held(store)];
    for (const round of [1, 2]) {
      const files = Array.from({ length: 2_000 }, (_, at) => replace(`${at}`, `${round}`));
      let stored = false;
      const commit = one.commit({ files }).finally(() => {
        stored = true;
      });
      let others = 0;
      for (; !stored; others++) {
        await other.commit({ files: [replace("log", `${others}`)] });
        await new Promise((resolve) => setImmediate(resolve));
      }
      await commit;
      // One for each transaction of the large commit, or nearly so.
      expect(others).toBeGreaterThanOrEqual(10);
      expect(rows.get()).toBe(2_001);
    }
    await store.close();
  });

  it("loses what a node had written ahead of a commit over which it died, an hour later", async () => {
    await using dir = await tempDir("store");
    const path = join(dir.path, "squadron.db");
    const clock = new ManualClock();
    const store = await openStore(`sqlite:${path}`, { clock });
    using file = closing(new BetterSqlite(path));
    const insert = file.db.prepare(
      "insert into files (kind, owner, path, mode, size, tail) values (?, ?, ?, 0, 0, 0)",
    );
    const left = file.db.prepare("select distinct owner from files order by owner").pluck();
    const owner = `ahead/${clock.now()}/x`;
    for (let at = 0; at < 300; at++) insert.run("session", owner, `${at}`);
    insert.run("unit", `${owner}/replaced`, "a");
    insert.run("session", "somebody's", "a");
    await store.state.removeOrphans(10);
    expect(left.all()).toHaveLength(3);
    clock.advance(3_600_001);
    insert.run("session", `ahead/${clock.now()}/y`, "a");
    await store.state.removeOrphans(10);
    expect(left.all()).toEqual([`ahead/${clock.now()}/y`, "somebody's"]);
    await store.close();
  });

  it("is migrated once, however many open it at the same time", async () => {
    await using dir = await tempDir("store");
    const url = `sqlite:${join(dir.path, "squadron.db")}`;
    const stores = await Promise.all(Array.from({ length: 5 }, () => openStore(url)));
    await Promise.all(stores.map((store) => store.close()));
    await (await openStore(url)).close();
    using file = closing(new BetterSqlite(join(dir.path, "squadron.db"), { readonly: true }));
    const names = file.db.prepare("select name from kysely_migration order by name").pluck().all();
    expect(names).toEqual([
      "0001-sessions",
      "0002-keys",
      "0003-audit",
      "0004-state",
      "0005-turns",
      "0006-directories-and-links",
      "0007-leases",
      "0008-turn-queue",
      "0009-request-keys",
      "0010-token-use",
      "0011-invites",
      "0012-browser-sessions",
      "0013-senders",
      "0014-sender-names",
      "0015-joined-by",
    ]);
  });

  it("keeps nothing of a migration that fails half-way", async () => {
    const file = new BetterSqlite(":memory:");
    const db = new Kysely<unknown>({ dialect: sqliteDialect(file, { busyMs: 0 }) });
    const migrations: Record<string, Migration> = {
      "1": { up: async (on) => void (await sql`create table first (a integer)`.execute(on)) },
      "2": { up: async (on) => void (await sql`create table nonsense`.execute(on)) },
    };
    const migrator = new Migrator({ db, provider: { getMigrations: async () => migrations } });
    expect((await migrator.migrateToLatest()).error).toBeDefined();
    expect(file.prepare("select name from sqlite_schema where name = 'first'").all()).toEqual([]);
    expect(file.prepare("select name from kysely_migration").all()).toEqual([]);
    await db.destroy();
  });

  it("is written by a ping, so that a full disk is noticed", async () => {
    await using dir = await tempDir("store");
    const path = join(dir.path, "squadron.db");
    const store = await openStore(`sqlite:${path}`);
    await store.ping();
    const before = (await stat(`${path}-wal`)).size;
    await store.ping();
    expect((await stat(`${path}-wal`)).size).toBeGreaterThan(before);
    await store.close();
  });

  it("has to be a database", async () => {
    await using dir = await tempDir("store");
    const path = join(dir.path, "squadron.db");
    await writeFile(path, "this is no database, however long one reads in it".repeat(100));
    await expect(openStore(`sqlite:${path}`)).rejects.toMatchObject({
      code: "store_unavailable",
      message: expect.stringContaining(path),
      cause: expect.objectContaining({ code: "SQLITE_NOTADB" }),
    });
    await mkdir(join(dir.path, "directory"));
    await expect(openStore(`sqlite:${join(dir.path, "directory")}`)).rejects.toMatchObject({
      code: "store_unavailable",
    });
  });

  it("is not told by its path once it is open: clients hear of later failures", async () => {
    await using dir = await tempDir("store");
    const store = await openStore(`sqlite:${join(dir.path, "squadron.db")}`);
    await store.close();
    await expect(store.ping()).rejects.toMatchObject({
      code: "store_unavailable",
      message: expect.not.stringContaining(dir.path),
    });
  });

  it("is waited for while another process writes, without stopping the event loop", async () => {
    await using dir = await tempDir("store");
    const path = join(dir.path, "squadron.db");
    const store = await openStore(`sqlite:${path}`);
    using other = closing(new BetterSqlite(path));
    other.db.exec("begin immediate");
    let written = false;
    const ping = store.ping().then(() => {
      written = true;
    });
    await new Promise((resolve) => setImmediate(resolve));
    expect(written).toBe(false);
    other.db.exec("commit");
    await ping;
    await store.close();
  });

  it("is the only kind of store there is", async () => {
    await expect(openStore("postgres://localhost/x")).rejects.toMatchObject({ code: "config_invalid" });
  });
});

const closing = (db: BetterSqlite.Database) => ({ db, [Symbol.dispose]: () => db.close() });
