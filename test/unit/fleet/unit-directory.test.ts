import { chmod, readdir, stat, writeFile } from "node:fs/promises";
import { join, relative } from "node:path";
import { expect, test } from "vitest";
import { prepareUnitDirectory, unitRoot } from "../../../src/fleet/unit-directory.ts";
import { tempDir } from "../../support/temp.ts";

test("no key leads out of the state directory or tells whose it is", () => {
  for (const key of ["../../etc", "/etc", "user/acme/alice", "", "\0", "x".repeat(5_000)]) {
    expect(relative("/s", unitRoot("/s", key))).toMatch(/^units\/[0-9a-f]{32}$/);
  }
  expect(unitRoot("/s", "a")).not.toBe(unitRoot("/s", "b"));
});

test("only we can enter what is made, and it is the same at the next start but for temporary files", async () => {
  await using dir = await tempDir();
  const first = await prepareUnitDirectory(join(dir.path, "state"), "k");
  for (const path of [join(dir.path, "state"), join(dir.path, "state/units"), ...Object.values(first)]) {
    expect((await stat(path)).mode & 0o777).toBe(0o700);
  }
  await writeFile(join(first.copilotHome, "kept"), "");
  await writeFile(join(first.temporary, "left"), "");
  await chmod(first.root, 0o755);
  const second = await prepareUnitDirectory(join(dir.path, "state"), "k");
  expect((await stat(first.root)).mode & 0o777).toBe(0o700);
  expect({ ...second, temporary: "" }).toEqual({ ...first, temporary: "" });
  expect(second.temporary).not.toBe(first.temporary);
  expect(await readdir(second.copilotHome)).toEqual(["kept"]);
  expect(await readdir(join(second.root, "tmp"))).toHaveLength(1);
});
