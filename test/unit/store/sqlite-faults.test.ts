import { spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { createInterface } from "node:readline";
import BetterSqlite from "better-sqlite3";
import { type KyselyPlugin, sql, type Transaction } from "kysely";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { type Database, openDatabase } from "../../../src/store/sqlite/database.ts";
import { expiredIds } from "../../../src/store/sqlite/expired.ts";
import { storeIn } from "../../../src/store/sqlite/sqlite-store.ts";
import type { Tables } from "../../../src/store/sqlite/tables.ts";
import type { Commit, Store } from "../../../src/store/store.ts";
import { append, type Held, held, replace, turn } from "../../contract/rows.ts";
import { ManualClock } from "../../support/manual-clock.ts";
import { type TempDir, tempDir } from "../../support/temp.ts";
import { within } from "../../support/wait.ts";

let directory: TempDir;
let path: string;
let database: Database;
let store: Store;
beforeEach(async () => {
  directory = await tempDir("faults");
  path = join(directory.path, "squadron.db");
  database = await openDatabase(path, { busyMs: 20 });
  store = storeIn(database, new ManualClock());
});
afterEach(async () => {
  await store.close();
  await directory.remove();
});

const unavailable = (reason: string) => ({
  code: "store_unavailable",
  message: expect.stringContaining(reason),
});

const endOf = (id: string) =>
  ({
    id,
    state: "completed",
    endedAt: 1,
    reason: null,
    runtimeMessageId: null,
    content: null,
    joined: null,
    inputTokens: 0,
    outputTokens: 0,
  }) as const;

/** All that the database has, to be compared. */
const everything = (): unknown => {
  const file = new BetterSqlite(path, { readonly: true });
  try {
    return ["sessions", "session_names", "units", "files", "file_chunks", "turns", "deleted_sessions"].map(
      (table) => file.prepare(`select * from ${table} order by 1, 2`).all(),
    );
  } finally {
    file.close();
  }
};

test("a full disk is store_unavailable, leaves nothing half-written, and is over when there is room", async () => {
  const one = await held(store);
  await one.commit({ files: [replace("log", "begin"), replace("meta", "1")] });
  const row = turn(one.row.id);
  await store.turns.insert(row);
  const before = everything();
  const pages = await database.query((db) => sql<{ pageCount: number }>`pragma page_count`.execute(db));
  await database.query((db) =>
    sql.raw(`pragma max_page_count = ${(pages.rows[0]?.pageCount ?? 0) + 2}`).execute(db),
  );

  const change: Partial<Commit> = {
    files: [replace("meta", "2"), append("log", 5, "x".repeat(50_000))],
    unit: { key: one.row.unit, maxBytes: 1_000, files: [replace("home/x", "x")] },
    turns: [endOf(row.id)],
  };
  for (let tries = 0; tries < 3; tries++)
    await expect(one.commit(change)).rejects.toMatchObject(unavailable("full"));
  expect(everything()).toEqual(before);
  expect(await one.texts()).toEqual({ log: "begin", meta: "1" });

  await database.query((db) => sql.raw("pragma max_page_count = 1000000").execute(db));
  expect(await one.commit(change)).toEqual({ version: 2, sizeBytes: 50_006 });
  expect(await one.texts()).toEqual({ log: `begin${"x".repeat(50_000)}`, meta: "2" });
  expect((await store.turns.byId(one.row.id, row.id))?.state).toBe("completed");
});

test("a locked store is store_unavailable after the wait, can be read meanwhile, and goes on when it is free", async () => {
  const one = await held(store);
  await one.commit({ files: [replace("log", "begin")] });
  const before = everything();
  const other = new BetterSqlite(path);
  try {
    other.exec("begin immediate");
    const change: Partial<Commit> = { files: [append("log", 5, "!")] };
    await expect(one.commit(change)).rejects.toMatchObject(unavailable("locked"));
    await expect(store.turns.insert(turn(one.row.id))).rejects.toMatchObject(unavailable("locked"));
    await expect(store.state.acquire(one.row.id, 1)).rejects.toMatchObject(unavailable("locked"));
    expect(await one.texts()).toEqual({ log: "begin" });
    expect(everything()).toEqual(before);
    other.exec("rollback");
    await one.commit(change);
    expect(await one.texts()).toEqual({ log: "begin!" });
  } finally {
    other.close();
  }
});

describe("an error at any statement of a transaction leaves nothing of it", () => {
  /** The store with a transaction that breaks at its n-th statement. */
  const breakingAt = (statement: number): { store: Store; reached: () => number } => {
    let count = 0;
    const breaking: KyselyPlugin = {
      transformQuery({ node }) {
        if (++count === statement) throw new Error("broken by the test");
        return node;
      },
      transformResult: async ({ result }) => result,
    };
    const transaction: Database["transaction"] = (work) =>
      database.transaction(async (db) => {
        const result = await work(db.withPlugin(breaking) as Transaction<Tables>);
        if (++count === statement) throw new Error("broken by the test");
        return result;
      });
    return {
      store: storeIn({ ...database, transaction, passing: transaction }, new ManualClock()),
      reached: () => count,
    };
  };

  const prepare = async (): Promise<{ one: Held; row: ReturnType<typeof turn> }> => {
    const one = await held(store, { unit: "session/1", isolation: "session" });
    await one.commit({
      files: [replace("log", "begin"), replace("meta", "1"), replace("old", "1")],
      unit: { key: "session/1", maxBytes: 1_000, files: [replace("home/x", "x")] },
    });
    // One more append compacts.
    for (let at = 0; at < 32; at++) await one.commit({ files: [append("log", 5 + at, "x")] });
    const row = turn(one.row.id);
    await store.turns.insert(row);
    return { one, row };
  };

  test.each<{ what: string; least: number; work: (on: Store, one: Held, id: string) => Promise<unknown> }>([
    {
      what: "commit",
      least: 15,
      work: (on, one, id) =>
        on.state.commit({
          sessionId: one.row.id,
          epoch: one.epoch,
          version: one.version,
          maxBytes: 1_000,
          files: [replace("meta", "2"), append("log", 37, "!"), { kind: "remove", path: "old" }],
          unit: { key: "session/1", maxBytes: 1_000, files: [replace("home/y", "y")] },
          turns: [endOf(id)],
        }),
    },
    { what: "acquire", least: 2, work: (on, one) => on.state.acquire(one.row.id, 9) },
    { what: "delete", least: 6, work: (on, one) => on.sessions.delete(one.row.id) },
  ])("$what", async ({ least, work }) => {
    const { one, row } = await prepare();
    const before = everything();
    let statement = 1;
    for (; ; statement++) {
      const broken = breakingAt(statement);
      const failed = await work(broken.store, one, row.id).then(
        () => false,
        () => true,
      );
      if (!failed) break;
      expect(everything()).toEqual(before);
    }
    expect(statement).toBeGreaterThan(least);
    expect(everything()).not.toEqual(before);
  });
});

test("what was acknowledged is there after kill -9, and nothing of a commit without the rest of it", async () => {
  const one = await held(store);
  await one.commit({ files: [replace("log", "")] });
  const module = (name: string) =>
    JSON.stringify(new URL(`../../../src/store/${name}`, import.meta.url).href);
  const child = spawn(
    process.execPath,
    [
      "--input-type=module",
      "--eval",
      `const { openStore } = await import(${module("open-store.ts")});
       const store = await openStore(${JSON.stringify(`sqlite:${path}`)});
       const bytes = Buffer.from("0123456789");
       for (let version = 1; ; version++) {
         const files = [{ kind: "append", path: "log", at: (version - 1) * 10, bytes },
           { kind: "file", path: "version", mode: 0o600, bytes: Buffer.from(String(version)) }];
         await store.state.commit({ sessionId: ${JSON.stringify(one.row.id)}, epoch: 1, version, maxBytes: 1e9, files });
         console.log(version);
       }`,
    ],
    { stdio: ["ignore", "pipe", "inherit"] },
  );
  const exited = once(child, "exit");
  let acknowledged = 0;
  const read = (async () => {
    for await (const line of createInterface({ input: child.stdout })) {
      acknowledged = Number(line);
      if (acknowledged === 50) child.kill("SIGKILL");
    }
  })();
  try {
    await within(Promise.all([read, exited]), { what: "the child commits and is killed" });
  } finally {
    child.kill("SIGKILL");
  }
  const stored = await one.texts();
  const committed = Number(stored.version);
  expect(committed).toBeGreaterThanOrEqual(acknowledged);
  expect(stored.log).toBe("0123456789".repeat(committed));
  expect(await store.state.acquire(one.row.id, 1)).toEqual({ epoch: 2, version: committed + 1 });
});

describe("the chunks of a file", () => {
  const sizes = (): number[] => {
    const file = new BetterSqlite(path, { readonly: true });
    try {
      return file.prepare("select length(bytes) from file_chunks order by at").pluck().all() as number[];
    } finally {
      file.close();
    }
  };

  test("are one and a short tail, however many appends there were", async () => {
    const one = await held(store);
    await one.commit({ files: [replace("log", "x".repeat(1_000))] });
    for (let at = 0; at < 500; at++) {
      await one.commit({ files: [append("log", 1_000 + at, "y")] });
      expect(sizes().length).toBeLessThanOrEqual(33);
      expect(sizes()[0]).toBeGreaterThanOrEqual(1_000 + at - 32);
    }
  });

  test("are put together up to a megabyte only, so that no commit writes much more than it brings", async () => {
    const big = "x".repeat(2 ** 20);
    const one = await held(store);
    await one.commit({ files: [replace("log", big)] });
    let size = big.length;
    const add = async (text: string) => {
      await one.commit({ files: [append("log", size, text)] });
      size += text.length;
    };
    for (let at = 0; at < 70; at++) await add("y");
    expect(sizes().slice(0, 2)).toEqual([big.length, 66]);
    await add(big);
    for (let at = 0; at < 32; at++) await add("z");
    // One that comes just when the tail would be put together.
    await add(big);
    await add("end");
    const all = sizes();
    expect(all.filter((length) => length >= big.length)).toHaveLength(3);
    expect(all.length).toBeLessThanOrEqual(40);
    expect((await one.texts()).log).toBe(`${big}${"y".repeat(70)}${big}${"z".repeat(32)}${big}end`);
  });

  test.each([
    ["another byte", "update file_chunks set bytes = x'7a' where at = 1"],
    ["a missing chunk", "delete from file_chunks where at = 1"],
    ["a missing end", "delete from file_chunks where at = (select max(at) from file_chunks)"],
    ["no chunk at all", "delete from file_chunks"],
  ])("that are damaged are noticed: %s", async (_what, damage) => {
    const one = await held(store);
    await one.commit({ files: [replace("log", "a")] });
    for (let at = 1; at < 33; at++) await one.commit({ files: [append("log", at, "b")] });
    const file = new BetterSqlite(path);
    file.exec(damage);
    file.close();
    const damaged = { code: "internal", message: expect.stringContaining("log is damaged") };
    await expect(one.texts()).rejects.toMatchObject(damaged);
    // A compaction must not put a new checksum on it.
    await expect(one.commit({ files: [append("log", 33, "c")] })).rejects.toMatchObject(damaged);
  });
});

test("the janitor's question is answered from the index alone", async () => {
  const query = expiredIds({ now: 9, defaultTtlMs: 3, tenantTtlMs: { a: 2 }, limit: 5 });
  const { rows } = await database.query((db) =>
    sql<{ detail: string }>`explain query plan select 'x' in ${query}`.execute(db),
  );
  const plan = rows.map(({ detail }) => detail).join("\n");
  expect(plan).toContain("SEARCH due USING COVERING INDEX sessions_by_use (last_used_at<?)");
  expect(plan).not.toContain("ORDER BY");
});
