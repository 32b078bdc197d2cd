import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import {
  appendFileSync,
  chmodSync,
  closeSync,
  existsSync,
  ftruncateSync,
  lstatSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  readlinkSync,
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
import type { FileChange, StoredEntry } from "../../../src/store/store.ts";
import { tempDir } from "../../support/temp.ts";
import { within } from "../../support/wait.ts";

type Files = Map<string, StoredEntry>;

const maxBytes = 1_000_000;
const bounds = { maxBytes, maxFiles: 10_000 };
const below = [".copilot", "session-state", "s"] as const;

const rootAt = (base: string, path: readonly string[] = below): Root => ({
  base,
  path,
  prefix: "",
  ignore: (one) => one.endsWith(".lock"),
  isLog: (one) => one.endsWith(".jsonl"),
});

const file = (path: string, text: string | Buffer, mode = 0o600): StoredEntry => ({
  kind: "file",
  path,
  mode,
  bytes: Buffer.from(text),
});

const bytesIn = (files: Files, path: string): Buffer | undefined => {
  const found = files.get(path);
  return found?.kind === "file" ? Buffer.from(found.bytes) : undefined;
};

/** What a store makes of changes; it refuses those that do not fit. */
const apply = (files: Files, changes: readonly FileChange[]): void => {
  for (const change of changes) {
    if (change.kind === "remove") files.delete(change.path);
    else if (change.kind !== "append") files.set(change.path, change);
    else {
      const before = files.get(change.path);
      if (before?.kind !== "file") throw new Error(`${change.path} is no file.`);
      expect(before.bytes.length).toBe(change.at);
      files.set(change.path, { ...before, bytes: Buffer.concat([before.bytes, change.bytes]) });
    }
  }
};

const permissions = (path: string): number => lstatSync(path).mode & 0o777;

/** What a plain look at the directory finds, with whole lines of logs only. */
const filesUnder = (directory: string, prefix = "", found: Files = new Map()): Files => {
  if (!existsSync(directory)) return found;
  for (const entry of readdirSync(directory, { withFileTypes: true })) {
    const path = `${prefix}${entry.name}`;
    const at = join(directory, entry.name);
    if (path.endsWith(".lock")) continue;
    if (entry.isDirectory()) {
      found.set(path, { kind: "directory", path, mode: permissions(at) | 0o700 });
      filesUnder(at, `${path}/`, found);
    } else if (entry.isSymbolicLink()) found.set(path, { kind: "link", path, target: readlinkSync(at) });
    else if (entry.isFile()) {
      const bytes = readFileSync(at);
      const whole = path.endsWith(".jsonl") ? bytes.subarray(0, bytes.lastIndexOf("\n") + 1) : bytes;
      found.set(path, file(path, whole, permissions(at)));
    }
  }
  return found;
};

const stored = (files: Files): readonly StoredEntry[] =>
  [...files.values()].sort((one, other) => (one.path < other.path ? -1 : 1));

const shown = (files: Files) =>
  stored(files).map((entry) => ({
    ...entry,
    ...(entry.kind !== "link" && { mode: entry.mode.toString(8) }),
    ...(entry.kind === "file" && { bytes: Buffer.from(entry.bytes).toString("latin1") }),
  }));

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

const statOf = (path: string) => {
  try {
    return lstatSync(path, { throwIfNoEntry: false });
  } catch {
    // Something on the way is no directory.
    return undefined;
  }
};

const kindAt = (path: string): "file" | "directory" | "link" | undefined => {
  const found = statOf(path);
  if (found?.isDirectory()) return "directory";
  if (found?.isSymbolicLink()) return "link";
  return found && "file";
};

const isFile = (path: string): boolean => kindAt(path) === "file";

/** A directory for the file, made even where something else is in its way. */
const makeWayFor = (base: string, path: string): void => {
  const parts = dirname(path).split("/");
  for (const [at] of parts.entries()) {
    const parent = join(base, ...parts.slice(0, at + 1));
    if (kindAt(parent) !== "directory") rmSync(parent, { force: true });
  }
  mkdirSync(dirname(join(base, path)), { recursive: true });
  if (!isFile(join(base, path))) rmSync(join(base, path), { recursive: true, force: true });
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
  | { readonly do: "delete" | "directory" | "empty directory" | "chmod"; readonly path: string }
  | { readonly do: "link"; readonly path: string; readonly target: string }
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
  {
    weight: 2,
    arbitrary: fc.record({
      do: fc.constantFrom(
        "delete" as const,
        "directory" as const,
        "empty directory" as const,
        "chmod" as const,
      ),
      path,
    }),
  },
  fc.record({
    do: fc.constant("link" as const),
    path,
    target: fc.constantFrom("/nowhere", "y", "../..", "nowhere ü"),
  }),
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
      if (kindAt(file) !== undefined) rmSync(file, { recursive: true });
      break;
    case "directory":
      if (kindAt(file) !== undefined) rmSync(file, { recursive: true });
      makeWayFor(base, `${one.path}/within`);
      break;
    case "empty directory":
      makeWayFor(base, one.path);
      rmSync(file, { force: true });
      mkdirSync(file);
      break;
    case "link":
      makeWayFor(base, one.path);
      rmSync(file, { force: true });
      symlinkSync(one.target, file);
      break;
    case "chmod":
      if (kindAt(file) === "file" || kindAt(file) === "directory") chmodSync(file, permissions(file) ^ 0o155);
  }
};

describe("a working copy", () => {
  it("whatever happens in the directory: the changes make of the stored files those of the directory", async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 1, maxLength: 40 }), async (steps) => {
        await using directory = await tempDir("copy");
        const base = join(directory.path, ...below);
        mkdirSync(base, { recursive: true });
        const copy = openWorkingCopy({ roots: [rootAt(directory.path)], bounds });
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
          bounds,
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
    const copy = await restoreFiles({
      roots: [rootAt(directory.path)],
      files: [file("events.jsonl", "one\n")],
      bounds,
      owner: undefined,
    });
    const log = join(directory.path, ...below, "events.jsonl");
    const next = async (): Promise<PendingChanges["files"]> => {
      const changes = await copy.changes();
      changes.accept();
      return changes.files.map((change) =>
        "bytes" in change ? { ...change, bytes: Buffer.from(change.bytes) } : change,
      );
    };
    expect(await next()).toEqual([]);
    appendFileSync(log, "two\nthr");
    const two = { kind: "append", path: "events.jsonl", at: 4, bytes: Buffer.from("two\n") };
    expect(await next()).toEqual([two]);
    appendFileSync(log, "e");
    expect(await next()).toEqual([]);
    appendFileSync(log, "e\n");
    expect(await next()).toEqual([{ ...two, at: 8, bytes: Buffer.from("three\n") }]);
  });

  it("takes back what logs have got since the last commit, and says when it was more than that", async () => {
    let taken = 0;
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 1, maxLength: 40 }), async (steps) => {
        await using directory = await tempDir("copy");
        const base = join(directory.path, ...below);
        mkdirSync(base, { recursive: true });
        const copy = openWorkingCopy({ roots: [rootAt(directory.path)], bounds });
        const model: Files = new Map();
        for (const [at, one] of steps.entries()) {
          if (one.do === "commit") {
            const changes = await copy.changes();
            apply(model, changes.files);
            changes.accept();
          } else if (one.do !== "refused") perform(base, one, at);
          else if (await copy.takeBack()) {
            taken++;
            expect(shown(filesUnder(base))).toEqual(shown(model));
            expect((await copy.changes()).files).toEqual([]);
          }
        }
      }),
      { numRuns: 100 },
    );
    expect(taken).toBeGreaterThan(0);
  });

  it("cuts a log where the store's ends, and goes on from there", async () => {
    await using directory = await tempDir("copy");
    const files = [file("events.jsonl", "one\n"), file("plan.md", "plan")];
    const copy = await restoreFiles({
      roots: [rootAt(directory.path)],
      files,
      bounds,
      owner: undefined,
    });
    const log = join(directory.path, ...below, "events.jsonl");
    appendFileSync(log, "two\nthr");
    expect(await copy.takeBack()).toBe(true);
    expect(readFileSync(log, "utf8")).toBe("one\n");
    appendFileSync(log, "2nd\n");
    expect((await copy.changes()).files).toMatchObject([{ kind: "append", path: "events.jsonl", at: 4 }]);
    writeFileSync(join(directory.path, ...below, "plan.md"), "another");
    expect(await copy.takeBack()).toBe(false);
  });

  it("does not take back a log that is as long as before and another, or that links lead to", async () => {
    for (const spoil of [
      (log: string) => writeFileSync(log, "two\nthree\n"),
      (log: string) => renameSync(log, `${log}.old`),
      (log: string) => {
        renameSync(log, `${log}.lock`);
        symlinkSync(`${log}.lock`, log);
      },
    ]) {
      await using directory = await tempDir("copy");
      const copy = await restoreFiles({
        roots: [rootAt(directory.path)],
        files: [file("events.jsonl", "one\n")],
        bounds,
        owner: undefined,
      });
      spoil(join(directory.path, ...below, "events.jsonl"));
      expect(await copy.takeBack()).toBe(false);
    }
  });

  it("takes a database that changed inside and grew as a whole, not its new end alone", async () => {
    await using directory = await tempDir("copy");
    const page = Buffer.alloc(4096, "p");
    const database = join(directory.path, ...below, "session.db");
    const copy = await restoreFiles({
      roots: [rootAt(directory.path)],
      files: [file("session.db", Buffer.concat([page, page]))],
      bounds,
      owner: undefined,
    });
    const fd = openSync(database, "r+");
    writeSync(fd, "changed", 0);
    closeSync(fd);
    appendFileSync(database, page);
    const { files } = await copy.changes();
    expect(files.map(({ kind, path }) => ({ kind, path }))).toEqual([{ kind: "file", path: "session.db" }]);
    const [change] = files;
    expect(change !== undefined && "bytes" in change && Buffer.from(change.bytes)).toEqual(
      readFileSync(database),
    );
  });

  it("takes users' files as they are, whatever they are called: an unended line, a change in the middle", async () => {
    await using directory = await tempDir("copy");
    const data = join(directory.path, "data.jsonl");
    const root: Root = { ...rootAt(directory.path, []), isLog: () => false };
    const copy = openWorkingCopy({ roots: [root], bounds });
    const model: Files = new Map();
    const storedText = async (): Promise<string | undefined> => {
      const changes = await copy.changes();
      apply(model, changes.files);
      changes.accept();
      return bytesIn(model, "data.jsonl")?.toString();
    };
    writeFileSync(data, '{"a":1}\n{"b":2}');
    expect(await storedText()).toBe('{"a":1}\n{"b":2}');
    const end = `${"x".repeat(200)}\n`;
    writeFileSync(data, `{"a":1}\n${end}`);
    await storedText();
    writeFileSync(data, `{"a":2}\n${end}more\n`);
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
      files: [file("plan.md", "new", 0o640)],
      bounds,
      owner: undefined,
    });
    expect(readdirSync(base)).toEqual(["plan.md"]);
    expect(shown(filesUnder(base))).toEqual([{ kind: "file", path: "plan.md", mode: "640", bytes: "new" }]);
  });

  it("refuses stored paths that lead out", async () => {
    await using directory = await tempDir("copy");
    for (const path of ["../out", "a/../../out", "/out", "a//b", ".", "a/."]) {
      const files = [file(path, "x")];
      await expect(
        restoreFiles({ roots: [rootAt(directory.path)], files, bounds, owner: undefined }),
        path,
      ).rejects.toMatchObject({ code: "internal" });
    }
    expect(readdirSync(directory.path)).toEqual([".copilot"]);
  });
});

describe("a working copy whose directory is a hostile one", () => {
  const changesOf = (base: string) => openWorkingCopy({ roots: [rootAt(base)], bounds }).changes();

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
      const link = { kind: "link", path: "inside", target };
      expect((await changesOf(directory.path)).files, `level ${level}`).toEqual(
        level < below.length ? [] : [link],
      );
      const files = [file("inside/mine", "mine")];
      await restoreFiles({ roots: [rootAt(directory.path)], files, bounds, owner: undefined });
      expect(shown(filesUnder(outside.path)), `level ${level}`).toEqual(before);
      const mine = join(directory.path, ...below, "inside", "mine");
      expect(readFileSync(mine, "utf8"), `level ${level}`).toBe("mine");
    }
  });

  it("takes of a link its text alone, no fifo, socket or name that is no text, and is not blocked by any", async () => {
    await using directory = await tempDir("copy");
    const base = join(directory.path, ...below);
    mkdirSync(base, { recursive: true });
    symlinkSync("/etc/passwd", join(base, "link"));
    execFileSync("mkfifo", [join(base, "fifo")]);
    writeFileSync(Buffer.concat([Buffer.from(`${base}/`), Buffer.from([0xff])]), "not a name");
    symlinkSync(Buffer.from([0x2f, 0xff]), join(base, "no text"));
    writeFileSync(join(base, "two\nlines"), "taken");
    const { files } = await changesOf(directory.path);
    expect([...files].sort((one, other) => (one.path < other.path ? -1 : 1))).toMatchObject([
      { kind: "link", path: "link", target: "/etc/passwd" },
      { kind: "file", path: "two\nlines" },
    ]);
  });

  it("puts links back that lead out, and goes through none of them, then or later", async () => {
    await using outside = await tempDir("copy-outside");
    await using directory = await tempDir("copy");
    mkdirSync(join(outside.path, "closed"), { mode: 0o500 });
    writeFileSync(join(outside.path, "victim"), "theirs");
    const before = shown(filesUnder(outside.path));
    const targets = {
      dir: outside.path,
      file: join(outside.path, "victim"),
      dangling: join(outside.path, "new"),
    };
    const links = Object.entries(targets).map(
      ([path, target]): StoredEntry => ({ kind: "link", path, target }),
    );
    const roots = [rootAt(directory.path)];
    const restore = (files: readonly StoredEntry[]) =>
      restoreFiles({ roots, files, bounds, owner: undefined });

    const copy = await restore(links);
    const base = join(directory.path, ...below);
    for (const [name, target] of Object.entries(targets)) expect(readlinkSync(join(base, name))).toBe(target);
    expect((await copy.changes()).files).toEqual([]);
    // A store that says so of the same paths, whoever wrote it: the links make way.
    for (const path of Object.keys(targets)) {
      await restore([
        ...links,
        { kind: "directory", path, mode: 0o777 },
        file(`${path}/mine`, "mine", 0o666),
      ]);
      expect(readFileSync(join(base, path, "mine"), "utf8")).toBe("mine");
      await restore([...links, file(path, "mine", 0o666)]);
      expect(kindAt(join(base, path))).toBe("file");
    }
    // Emptied and removed, they are removed alone.
    await restore(links);
    await restore([]);
    expect(shown(filesUnder(outside.path))).toEqual(before);
    expect(permissions(join(outside.path, "closed"))).toBe(0o500);
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
    await expect(changesOf(directory.path)).rejects.toMatchObject({
      code: "too_large",
      message: expect.stringMatching(/10000 files.*limits\.maxFiles/),
      details: { what: "files", limit: 10_000, setting: "limits.maxFiles" },
    });
  });

  it("refuses a tree deeper than any path, and removes it", async () => {
    await using directory = await tempDir("copy");
    const base = join(directory.path, ...below);
    mkdirSync(base, { recursive: true });
    const dig = "for (let i = 0; i < 3000; i++) { fs.mkdirSync('dddddddddd'); process.chdir('dddddddddd'); }";
    execFileSync(process.execPath, ["-e", dig], { cwd: base });
    await expect(changesOf(directory.path)).rejects.toMatchObject({ details: { what: "levels" } });
    await restoreFiles({ roots: [rootAt(directory.path)], files: [], bounds, owner: undefined });
    expect(existsSync(base)).toBe(false);
  });

  it("says that the runtime is gone when the disk is", async () => {
    await using directory = await tempDir("copy");
    const roots = [rootAt(join(directory.path, "gone"))];
    const gone = { code: "runtime_gone" };
    await expect(openWorkingCopy({ roots, bounds }).changes()).rejects.toMatchObject(gone);
    await expect(restoreFiles({ roots, files: [], bounds, owner: undefined })).rejects.toMatchObject(gone);
  });
});

describe("a database in a working copy", () => {
  /** What SQLite makes of the stored files: how many rows, when nothing in them is torn. */
  const rowsIn = async (files: Files): Promise<unknown> => {
    await using directory = await tempDir("copy-database");
    for (const name of files.keys())
      writeFileSync(join(directory.path, name), bytesIn(files, name) ?? Buffer.alloc(0));
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
        bounds: { ...bounds, maxBytes: 1e7 },
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
      const copy = openWorkingCopy({ roots: [root], bounds: { ...bounds, maxBytes: 1e8 } });
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
