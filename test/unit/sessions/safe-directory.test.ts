import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { createPace } from "../../../src/kernel/pace.ts";
import { factsAt, openDirectory, readFrom } from "../../../src/sessions/safe-directory.ts";
import { openWorkingCopy, restoreFiles } from "../../../src/sessions/working-copy.ts";
import { tempDir } from "../../support/temp.ts";
import { within } from "../../support/wait.ts";

const opened = (path: string) => {
  const directory = openDirectory(path);
  if (directory === undefined) throw new Error(`There is no directory ${path}.`);
  return directory;
};

/** Puts a link where a directory is, and the directory back, as fast as it can until it is killed. */
const swapper = `
  const fs = require("node:fs");
  const [victim, outside] = process.argv.slice(1);
  process.stdout.write("begun");
  for (;;) {
    try {
      fs.renameSync(victim, victim + ".lock");
      fs.symlinkSync(outside, victim);
      fs.unlinkSync(victim);
      fs.renameSync(victim + ".lock", victim);
    } catch {
      fs.mkdirSync(victim, { recursive: true });
      try { fs.rmSync(victim + ".lock", { recursive: true, force: true }); } catch {}
    }
  }`;

describe("a directory that somebody else may change", () => {
  it("gives nothing of what is no file any more when it is read", async () => {
    await using directory = await tempDir("safe");
    execFileSync("mkfifo", [join(directory.path, "fifo")]);
    symlinkSync("/etc/passwd", join(directory.path, "link"));
    mkdirSync(join(directory.path, "directory"));
    const at = opened(directory.path);
    for (const name of ["fifo", "link", "directory", "absent"]) {
      expect(await readFrom(at, name, 0, 100, createPace()), name).toBeUndefined();
      expect(factsAt(at, name), name).toBeUndefined();
    }
  });

  it("is never left for another one, however fast links come and go on the way", async () => {
    await using directory = await tempDir("safe");
    await using outside = await tempDir("safe-outside");
    const below = ["a", "b"];
    mkdirSync(join(outside.path, "b"));
    writeFileSync(join(outside.path, "b", "secret"), "secret");
    const roots = [
      { base: directory.path, path: below, prefix: "", ignore: () => false, isLog: () => false },
    ];
    const files = [{ kind: "file", path: "c/mine", mode: 0o600, bytes: Buffer.from("mine") }] as const;
    mkdirSync(join(directory.path, ...below), { recursive: true });
    const child = spawn(process.execPath, ["-e", swapper, join(directory.path, "a"), outside.path]);
    try {
      await within(once(child.stdout, "data"), { what: "links come and go" });
      for (let round = 0; round < 400; round++) {
        const seen = await openWorkingCopy({ roots, bounds: { maxBytes: 1e6, maxFiles: 1_000 } })
          .changes()
          .catch(() => ({ files: [] }));
        expect(seen.files.filter(({ path }) => path === "secret")).toEqual([]);
        // Under such an attack it may fail; it must not go elsewhere.
        await restoreFiles({
          roots,
          files,
          bounds: { maxBytes: 1e6, maxFiles: 1_000 },
          owner: undefined,
        }).catch(() => undefined);
      }
    } finally {
      child.kill("SIGKILL");
      await once(child, "exit");
    }
    expect(readdirSync(join(outside.path, "b"))).toEqual(["secret"]);
    expect(readFileSync(join(outside.path, "b", "secret"), "utf8")).toBe("secret");
    expect(existsSync(join(outside.path, "b", "c"))).toBe(false);
  });
});
