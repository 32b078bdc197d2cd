import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import {
  appendFileSync,
  chmodSync,
  closeSync,
  existsSync,
  ftruncateSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { dirname, join } from "node:path";
import Database from "better-sqlite3";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { Root } from "../../../src/sessions/scan.ts";
import { openWorkingCopy, type PendingChanges, restoreFiles } from "../../../src/sessions/working-copy.ts";
import type { FileChange, StoredFile } from "../../../src/store/store.ts";
import { tempDir } from "../../support/temp.ts";
import { within } from "../../support/wait.ts";

type Files = Map<string, { readonly mode: number; readonly bytes: Buffer }>;

const maxBytes = 1_000_000;
const below = [".copilot", "session-state", "s"] as const;

const rootAt = (base: string, path: readonly string[] = below): Root => ({
  base,
  path,
  prefix: "",
  ignore: (one) => one.endsWith(".lock"),
  isLog: (one) => one.endsWith(".jsonl"),
});

/** What a store makes of changes; it refuses those that do not fit. */
const apply = (files: Files, changes: readonly FileChange[]): void => {
  for (const change of changes) {
    const before = files.get(change.path);
    if (change.kind === "remove") files.delete(change.path);
    else if (change.kind === "replace")
      files.set(change.path, { mode: change.mode, bytes: Buffer.from(change.bytes) });
    else {
      expect(before?.bytes.length).toBe(change.at);
      files.set(change.path, {
        mode: before?.mode ?? -1,
        bytes: Buffer.concat([before?.bytes ?? Buffer.alloc(0), change.bytes]),
      });
    }
  }
};

/** What a plain look at the directory finds, with whole lines of logs only. */
const filesUnder = (directory: string, prefix = "", found: Files = new Map()): Files => {
  if (!existsSync(directory)) return found;
  for (const entry of readdirSync(directory, { withFileTypes: true })) {
    const path = `${prefix}${entry.name}`;
    if (entry.isDirectory()) filesUnder(join(directory, entry.name), `${path}/`, found);
    else if (entry.isFile() && !path.endsWith(".lock")) {
      const bytes = readFileSync(join(directory, entry.name));
      const whole = path.endsWith(".jsonl") ? bytes.subarray(0, bytes.lastIndexOf("\n") + 1) : bytes;
      found.set(path, { mode: statSync(join(directory, entry.name)).mode & 0o777, bytes: whole });
    }
  }
  return found;
};

const shown = (files: Files) =>
  [...files]
    .map(([path, { mode, bytes }]) => ({ path, mode: mode.toString(8), bytes: bytes.toString("latin1") }))
    .sort((one, other) => (one.path < other.path ? -1 : 1));

const stored = (files: Files): readonly StoredFile[] =>
  [...files].map(([path, { mode, bytes }]) => ({ path, mode, bytes }));

const restlessWriter = `
  const Database = require("better-sqlite3");
  const [file, mode] = process.argv.slice(1);
  const database = new Database(file);
  database.pragma("journal_mode = " + mode);
  database.pragma("wal_autocheckpoint = 20");
  database.pragma("synchronous = off");
  database.exec("create table t (id integer primary key, b text); create index i on t (b)");
  const insert = database.prepare("insert into t (b) values (?)");
  const thin = database.prepare("delete from t where id % 7 = ?");
  const step = database.transaction((n) => {
    for (let k = 0; k < 20; k++) insert.run("v".repeat((n * 31 + k * 17) % 300) + n);
    if (n % 10 === 0) thin.run(n % 7);
  });
  step(0);
  process.stdout.write("begun");
  for (let n = 1; ; n++) step(n);`;

const isFile = (path: string): boolean => existsSync(path) && statSync(path).isFile();

/** A directory for the file, made even where a file is in its way. */
const makeWayFor = (base: string, path: string): void => {
  const parts = dirname(path).split("/");
  for (const [at] of parts.entries()) {
    const parent = join(base, ...parts.slice(0, at + 1));
    if (isFile(parent)) rmSync(parent);
  }
  mkdirSync(dirname(join(base, path)), { recursive: true });
  if (existsSync(join(base, path)) && !isFile(join(base, path)))
    rmSync(join(base, path), { recursive: true });
};

const path = fc
  .tuple(
    fc.constantFrom("", "x/", "x/y/", "z/"),
    fc.constantFrom("events.jsonl", "log.jsonl", "session.db", "plan.md", "x", "y", "two\nlines", "it.lock"),
  )
  .map(([directory, name]) => `${directory}${name}`);
const content = fc.array(fc.constantFrom("a", "b", "\n", "{}\n", "0123456789".repeat(20)), {
  maxLength: 12,
});

type Step =
  | { readonly do: "append" | "rewrite" | "replace"; readonly path: string; readonly text: string }
  | { readonly do: "truncate"; readonly path: string; readonly part: number }
  | { readonly do: "overwrite"; readonly path: string; readonly at: number; readonly text: string }
  | { readonly do: "delete" | "directory" | "chmod"; readonly path: string }
  | { readonly do: "commit" }
  | { readonly do: "refused" };

const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({
      do: fc.constantFrom("append" as const, "append" as const, "rewrite" as const, "replace" as const),
      path,
      text: content.map((parts) => parts.join("")),
    }),
  },
  fc.record({ do: fc.constant("truncate" as const), path, part: fc.double({ min: 0, max: 1, noNaN: true }) }),
  {
    weight: 2,
    arbitrary: fc.record({
      do: fc.constant("overwrite" as const),
      path,
      at: fc.nat(300),
      text: fc.constantFrom("!", "??"),
    }),
  },
  fc.record({ do: fc.constantFrom("delete" as const, "directory" as const, "chmod" as const), path }),
  { weight: 5, arbitrary: fc.record({ do: fc.constantFrom("commit" as const, "refused" as const) }) },
);

/** Lines of a log are never equal: they have an id each. */
const written = (step: number, { path, text }: { readonly path: string; readonly text: string }): string =>
  path.endsWith(".jsonl") ? text.replaceAll("\n", `#${step}\n`) : text;

const perform = (base: string, one: Exclude<Step, { do: "commit" | "refused" }>, step: number): void => {
  const file = join(base, one.path);
  switch (one.do) {
    case "append":
      makeWayFor(base, one.path);
      appendFileSync(file, written(step, one));
      break;
    case "rewrite":
      makeWayFor(base, one.path);
      writeFileSync(`${file}.new.lock`, written(step, one), { mode: 0o600 });
      renameSync(`${file}.new.lock`, file);
      break;
    case "replace":
      // A log is only ever added to in place.
      if (one.path.endsWith(".jsonl")) break;
      makeWayFor(base, one.path);
      writeFileSync(file, one.text);
      break;
    case "truncate":
      if (isFile(file)) truncateSync(file, Math.floor(statSync(file).size * one.part));
      break;
    case "overwrite": {
      if (!isFile(file) || one.path.endsWith(".jsonl")) break;
      const fd = openSync(file, "r+");
      writeSync(fd, one.text, Math.min(one.at, Math.max(0, statSync(file).size - one.text.length)));
      closeSync(fd);
      break;
    }
    case "delete":
      rmSync(file, { recursive: true, force: true });
      break;
    case "directory":
      rmSync(file, { recursive: true, force: true });
      makeWayFor(base, `${one.path}/within`);
      break;
    case "chmod":
      if (isFile(file)) chmodSync(file, (statSync(file).mode & 0o777) ^ 0o044);
  }
};

describe("a working copy", () => {
  it("whatever happens in the directory: the changes make of the stored files those of the directory", async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 1, maxLength: 40 }), async (steps) => {
        await using directory = await tempDir("copy");
        const base = join(directory.path, ...below);
        mkdirSync(base, { recursive: true });
        const copy = openWorkingCopy({ roots: [rootAt(directory.path)], maxBytes });
        const model: Files = new Map();
        const commit = async (): Promise<void> => {
          const changes = await copy.changes();
          apply(model, changes.files);
          changes.accept();
          expect(shown(model)).toEqual(shown(filesUnder(base)));
        };
        for (const [at, one] of steps.entries()) {
          if (one.do === "commit") await commit();
          else if (one.do === "refused") await copy.changes();
          else perform(base, one, at);
        }
        await commit();

        await using elsewhere = await tempDir("copy-elsewhere");
        const restored = await restoreFiles({
          roots: [rootAt(elsewhere.path)],
          files: stored(model),
          maxBytes,
          owner: undefined,
        });
        const there = join(elsewhere.path, ...below);
        expect(shown(filesUnder(there))).toEqual(shown(model));
        expect((await restored.changes()).files).toEqual([]);
      }),
      { numRuns: 100 },
    );
  });

  it("keeps what it restored through a log that goes on growing, line by whole line", async () => {
    await using directory = await tempDir("copy");
    const log = { path: "events.jsonl", mode: 0o600, bytes: Buffer.from("one\n") };
    const copy = await restoreFiles({
      roots: [rootAt(directory.path)],
      files: [log],
      maxBytes,
      owner: undefined,
    });
    const file = join(directory.path, ...below, "events.jsonl");
    const next = async (): Promise<PendingChanges["files"]> => {
      const changes = await copy.changes();
      changes.accept();
      return changes.files.map((change) =>
        "bytes" in change ? { ...change, bytes: Buffer.from(change.bytes) } : change,
      );
    };
    expect(await next()).toEqual([]);
    appendFileSync(file, "two\nthr");
    const two = { kind: "append", path: "events.jsonl", at: 4, bytes: Buffer.from("two\n") };
    expect(await next()).toEqual([two]);
    appendFileSync(file, "e");
    expect(await next()).toEqual([]);
    appendFileSync(file, "e\n");
    expect(await next()).toEqual([{ ...two, at: 8, bytes: Buffer.from("three\n") }]);
  });

  it("takes a database that changed inside and grew as a whole, not its new end alone", async () => {
    await using directory = await tempDir("copy");
    const page = Buffer.alloc(4096, "p");
    const file = join(directory.path, ...below, "session.db");
    const copy = await restoreFiles({
      roots: [rootAt(directory.path)],
      files: [{ path: "session.db", mode: 0o600, bytes: Buffer.concat([page, page]) }],
      maxBytes,
      owner: undefined,
    });
    const fd = openSync(file, "r+");
    writeSync(fd, "changed", 0);
    closeSync(fd);
    appendFileSync(file, page);
    const { files } = await copy.changes();
    expect(files.map(({ kind, path }) => ({ kind, path }))).toEqual([
      { kind: "replace", path: "session.db" },
    ]);
    const [change] = files;
    expect(change !== undefined && "bytes" in change && Buffer.from(change.bytes)).toEqual(
      readFileSync(file),
    );
  });

  it("takes users' files as they are, whatever they are called: an unended line, a change in the middle", async () => {
    await using directory = await tempDir("copy");
    const file = join(directory.path, "data.jsonl");
    const root: Root = { ...rootAt(directory.path, []), isLog: () => false };
    const copy = openWorkingCopy({ roots: [root], maxBytes });
    const model: Files = new Map();
    const storedText = async (): Promise<string | undefined> => {
      const changes = await copy.changes();
      apply(model, changes.files);
      changes.accept();
      return model.get("data.jsonl")?.bytes.toString();
    };
    writeFileSync(file, '{"a":1}\n{"b":2}');
    expect(await storedText()).toBe('{"a":1}\n{"b":2}');
    const end = `${"x".repeat(200)}\n`;
    writeFileSync(file, `{"a":1}\n${end}`);
    await storedText();
    writeFileSync(file, `{"a":2}\n${end}more\n`);
    expect(await storedText()).toBe(`{"a":2}\n${end}more\n`);
  });

  it("empties the directory first, whatever lies there", async () => {
    await using directory = await tempDir("copy");
    const base = join(directory.path, ...below);
    mkdirSync(join(base, "plan.md", "deep"), { recursive: true });
    writeFileSync(join(base, "plan.md", "deep", "old"), "old");
    writeFileSync(Buffer.concat([Buffer.from(`${base}/`), Buffer.from([0xff, 0x66])]), "not a name");
    symlinkSync("/etc", join(base, "link"));
    mkdirSync(join(base, "closed"));
    writeFileSync(join(base, "closed", "f"), "");
    chmodSync(join(base, "closed"), 0o555);
    await restoreFiles({
      roots: [rootAt(directory.path)],
      files: [{ path: "plan.md", mode: 0o640, bytes: Buffer.from("new") }],
      maxBytes,
      owner: undefined,
    });
    expect(readdirSync(base)).toEqual(["plan.md"]);
    expect(shown(filesUnder(base))).toEqual([{ path: "plan.md", mode: "640", bytes: "new" }]);
  });

  it("refuses stored paths that lead out", async () => {
    await using directory = await tempDir("copy");
    for (const path of ["../out", "a/../../out", "/out", "a//b", ".", "a/."]) {
      const files = [{ path, mode: 0o600, bytes: Buffer.from("x") }];
      await expect(
        restoreFiles({ roots: [rootAt(directory.path)], files, maxBytes, owner: undefined }),
        path,
      ).rejects.toMatchObject({ code: "internal" });
    }
    expect(readdirSync(directory.path)).toEqual([".copilot"]);
  });
});

describe("a working copy whose directory is a hostile one", () => {
  const changesOf = (base: string) => openWorkingCopy({ roots: [rootAt(base)], maxBytes }).changes();

  it("goes through no link, at any level of the way and anywhere below", async () => {
    await using outside = await tempDir("copy-outside");
    writeFileSync(join(outside.path, "secret"), "secret");
    mkdirSync(join(outside.path, ...below), { recursive: true });
    writeFileSync(join(outside.path, ...below, "secret"), "secret");
    const before = shown(filesUnder(outside.path));
    for (const [level] of [...below, "inside"].entries()) {
      await using directory = await tempDir("copy");
      const way = [...below, "inside"];
      mkdirSync(join(directory.path, ...way.slice(0, level)), { recursive: true });
      const target = join(outside.path, ...way.slice(0, Math.min(level + 1, below.length)));
      symlinkSync(target, join(directory.path, ...way.slice(0, level + 1)));
      expect((await changesOf(directory.path)).files, `level ${level}`).toEqual([]);
      const files = [{ path: "inside/mine", mode: 0o600, bytes: Buffer.from("mine") }];
      await restoreFiles({ roots: [rootAt(directory.path)], files, maxBytes, owner: undefined });
      expect(shown(filesUnder(outside.path)), `level ${level}`).toEqual(before);
      const mine = join(directory.path, ...below, "inside", "mine");
      expect(readFileSync(mine, "utf8"), `level ${level}`).toBe("mine");
    }
  });

  it("takes no link to a file, fifo, socket or name that is no text, and is not blocked by any", async () => {
    await using directory = await tempDir("copy");
    const base = join(directory.path, ...below);
    mkdirSync(base, { recursive: true });
    symlinkSync("/etc/passwd", join(base, "link"));
    execFileSync("mkfifo", [join(base, "fifo")]);
    writeFileSync(Buffer.concat([Buffer.from(`${base}/`), Buffer.from([0xff])]), "not a name");
    writeFileSync(join(base, "two\nlines"), "taken");
    const { files } = await changesOf(directory.path);
    expect(files.map(({ path }) => path)).toEqual(["two\nlines"]);
  });

  it.each(["huge.bin", "events.jsonl"])("refuses a file of a terabyte at once: %s", async (name) => {
    await using directory = await tempDir("copy");
    const base = join(directory.path, ...below);
    mkdirSync(base, { recursive: true });
    const fd = openSync(join(base, name), "w");
    ftruncateSync(fd, 2 ** 40);
    closeSync(fd);
    await expect(changesOf(directory.path)).rejects.toMatchObject({
      code: "too_large",
      details: { limit: maxBytes, what: "bytes" },
    });
  });

  it("refuses more files than are worth looking at, and in all more bytes than may be", async () => {
    await using directory = await tempDir("copy");
    const base = join(directory.path, ...below);
    mkdirSync(base, { recursive: true });
    for (const name of ["a", "b"]) writeFileSync(join(base, name), Buffer.alloc(maxBytes / 2 + 1));
    await expect(changesOf(directory.path)).rejects.toMatchObject({ details: { what: "bytes" } });
    rmSync(base, { recursive: true });
    mkdirSync(base);
    for (let one = 0; one <= 10_000; one++) closeSync(openSync(join(base, `${one}`), "w"));
    await expect(changesOf(directory.path)).rejects.toMatchObject({ details: { what: "files" } });
  });

  it("refuses a tree deeper than any path, and removes it", async () => {
    await using directory = await tempDir("copy");
    const base = join(directory.path, ...below);
    mkdirSync(base, { recursive: true });
    const dig = "for (let i = 0; i < 3000; i++) { fs.mkdirSync('dddddddddd'); process.chdir('dddddddddd'); }";
    execFileSync(process.execPath, ["-e", dig], { cwd: base });
    await expect(changesOf(directory.path)).rejects.toMatchObject({ details: { what: "levels" } });
    await restoreFiles({ roots: [rootAt(directory.path)], files: [], maxBytes, owner: undefined });
    expect(existsSync(base)).toBe(false);
  });

  it("says that the runtime is gone when the disk is", async () => {
    await using directory = await tempDir("copy");
    const roots = [rootAt(join(directory.path, "gone"))];
    const gone = { code: "runtime_gone" };
    await expect(openWorkingCopy({ roots, maxBytes }).changes()).rejects.toMatchObject(gone);
    await expect(restoreFiles({ roots, files: [], maxBytes, owner: undefined })).rejects.toMatchObject(gone);
  });
});

describe("a database in a working copy", () => {
  /** What SQLite makes of the stored files: how many rows, when nothing in them is torn. */
  const rowsIn = async (files: Files): Promise<unknown> => {
    await using directory = await tempDir("copy-database");
    for (const [name, { bytes }] of files) writeFileSync(join(directory.path, name), bytes);
    const database = new Database(join(directory.path, "session.db"), { fileMustExist: true });
    try {
      expect(database.pragma("integrity_check", { simple: true })).toBe("ok");
      return database.prepare("select count(*) from t indexed by i where b > ''").pluck().get();
    } finally {
      database.close();
    }
  };

  it.each(["wal", "delete"])(
    "is stored as it was at one moment when something writes between its files: %s",
    async (mode) => {
      await using directory = await tempDir("copy");
      mkdirSync(join(directory.path, ...below), { recursive: true });
      const database = new Database(join(directory.path, ...below, "session.db"));
      database.pragma(`journal_mode = ${mode}`);
      database.pragma("wal_autocheckpoint = 0");
      database.exec("create table t (id integer primary key, b text); create index i on t (b)");
      const insert = database.prepare("insert into t (b) values (?)");
      let rows = 0;
      const addMany = database.transaction(() => {
        for (let one = 0; one < 400; one++) insert.run(`${rows++} ${"v".repeat(50)}`);
      });
      let asked = 0;
      /** Every file of the database is asked for once before it is looked at. */
      const writing = (path: string): boolean => {
        if (path.startsWith("session.db") && ++asked === 2) {
          addMany();
          database.pragma("wal_checkpoint(TRUNCATE)");
          addMany();
        }
        return path.endsWith("-shm");
      };
      const copy = openWorkingCopy({
        roots: [{ ...rootAt(directory.path), ignore: writing }],
        maxBytes: 1e7,
      });
      const model: Files = new Map();
      try {
        for (let commit = 0; commit < 5; commit++) {
          addMany();
          asked = mode === "wal" ? 0 : 1;
          const changes = await copy.changes();
          apply(model, changes.files);
          changes.accept();
          expect(await rowsIn(model)).toBe(rows);
        }
      } finally {
        database.close();
      }
    },
  );

  it.each(["wal", "delete"])(
    "is never torn by a process that writes without a pause, and is whole once it stops: %s",
    async (mode) => {
      await using directory = await tempDir("copy");
      mkdirSync(join(directory.path, ...below), { recursive: true });
      const file = join(directory.path, ...below, "session.db");
      const writer = spawn(process.execPath, ["-e", restlessWriter, file, mode], {
        stdio: ["ignore", "pipe", "inherit"],
        cwd: import.meta.dirname,
      });
      const ended = once(writer, "exit");
      const root: Root = { ...rootAt(directory.path), ignore: (path) => path.endsWith("-shm") };
      const copy = openWorkingCopy({ roots: [root], maxBytes: 1e8 });
      const model: Files = new Map();
      const commit = async (): Promise<void> => {
        const changes = await copy.changes();
        apply(model, changes.files);
        changes.accept();
      };
      try {
        await within(once(writer.stdout, "data"), { what: "the writer has begun" });
        for (let round = 0; round < 40; round++) {
          await commit();
          if (model.has("session.db")) await rowsIn(model);
        }
      } finally {
        writer.kill("SIGKILL");
        await ended;
      }
      await commit();
      const there = filesUnder(join(directory.path, ...below));
      there.delete("session.db-shm");
      expect(shown(model)).toEqual(shown(there));
      expect(await rowsIn(model)).toBeGreaterThan(0);
    },
  );
});
