import { existsSync } from "node:fs";
import { mkdir, readdir, stat, writeFile } from "node:fs/promises";
import { basename, join } from "node:path";
import { expect, test } from "vitest";
import { makeBoxDirectory, removeBoxDirectory, removeFormerBoxes } from "../../../src/fleet/box-directory.ts";
import { tempDir } from "../../support/temp.ts";

const open = new AbortController().signal;

test("each box has new, empty directories that only we can enter", async () => {
  await using dir = await tempDir();
  const state = join(dir.path, "state");
  const first = await makeBoxDirectory(state, undefined);
  const second = await makeBoxDirectory(state, undefined);
  expect(second.root).not.toBe(first.root);
  for (const path of [state, join(state, "boxes"), ...Object.values(first)]) {
    expect((await stat(path)).mode & 0o777).toBe(0o700);
  }
  expect((await readdir(first.root, { recursive: true })).sort()).toEqual([
    "home",
    "home/.copilot",
    "tmp",
    "work",
  ]);
  await writeFile(join(first.copilotHome, "settings.json"), "{}");
  await removeBoxDirectory(first.root);
  expect(await readdir(join(state, "boxes"))).toEqual([basename(second.root)]);
});

test("the operator's working directory is used and never removed", async () => {
  await using dir = await tempDir();
  const common = join(dir.path, "common");
  await mkdir(common);
  const place = await makeBoxDirectory(join(dir.path, "state"), common);
  expect(place.work).toBe(common);
  await removeBoxDirectory(place.root);
  expect(existsSync(common)).toBe(true);
});

test("boxes of nodes that are no more are removed, those of living ones stay", async () => {
  await using dir = await tempDir();
  const state = join(dir.path, "state");
  const living = await makeBoxDirectory(state, undefined);
  for (const path of ["boxes/1.1-dead/home", "boxes/2.2-dead.gone", "boxes/what", "units/abc/home"]) {
    await mkdir(join(state, path), { recursive: true });
  }
  expect(await removeFormerBoxes(state, open)).toBe(0);
  expect(await readdir(join(state, "boxes"))).toEqual([basename(living.root)]);
  expect(existsSync(join(state, "units"))).toBe(false);
});

test("a state directory that is not there has nothing to remove", async () => {
  await using dir = await tempDir();
  expect(await removeFormerBoxes(join(dir.path, "none"), open)).toBe(0);
  expect(existsSync(join(dir.path, "none"))).toBe(false);
});
