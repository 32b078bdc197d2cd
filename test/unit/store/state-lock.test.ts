import { spawn } from "node:child_process";
import { once } from "node:events";
import { stat, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { isStateLocked, lockState } from "../../../src/store/state-lock.ts";
import { type TempDir, tempDir } from "../../support/temp.ts";
import { within } from "../../support/wait.ts";

let directory: TempDir;
let statePath: string;
beforeEach(async () => {
  directory = await tempDir("lock");
  statePath = join(directory.path, "state");
});
afterEach(() => directory.remove());

const held = { code: "config_invalid", message: expect.stringContaining("Another node runs on the state") };

test("a second lock is refused, by any name of the directory, until the first is released", async () => {
  const first = await lockState(statePath);
  expect((await stat(statePath)).mode & 0o777).toBe(0o711);
  await expect(lockState(statePath)).rejects.toMatchObject(held);
  const other = join(directory.path, "other-name");
  await symlink(statePath, other);
  await expect(lockState(other)).rejects.toMatchObject(held);

  await first.release();
  await first.release();
  const second = await lockState(statePath);
  await expect(lockState(statePath)).rejects.toMatchObject(held);
  await second.release();
});

test("asking whether it is locked leaves the lock as it is", async () => {
  expect(await isStateLocked(statePath)).toBe(false);
  const lock = await lockState(statePath);
  expect(await isStateLocked(statePath)).toBe(true);
  await expect(lockState(statePath)).rejects.toMatchObject(held);
  await lock.release();
  expect(await isStateLocked(statePath)).toBe(false);
});

test("the lock of a killed process is free at once", async () => {
  const module = new URL("../../../src/store/state-lock.ts", import.meta.url).href;
  const child = spawn(
    process.execPath,
    [
      "--input-type=module",
      "--eval",
      `const { lockState } = await import(${JSON.stringify(module)});
       globalThis.lock = await lockState(${JSON.stringify(statePath)});
       console.log("locked");
       setInterval(() => {}, 60_000);`,
    ],
    { stdio: ["ignore", "pipe", "inherit"] },
  );
  const exited = once(child, "exit");
  try {
    await within(once(child.stdout, "data"), { what: "the child holds the lock" });
    await expect(lockState(statePath)).rejects.toMatchObject(held);
  } finally {
    child.kill("SIGKILL");
    await within(exited, { what: "the child is gone" });
  }
  await (await lockState(statePath)).release();
});

test("a directory that cannot be used is told with its cause", async () => {
  await writeFile(statePath, "a file");
  await expect(lockState(statePath)).rejects.toMatchObject({
    code: "config_invalid",
    message: expect.stringContaining(`The state directory ${statePath} cannot be used: `),
    cause: { code: "EEXIST" },
  });
});
