import { chmod, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "vitest";
import { findProgram, runtimeExecutable } from "../../../src/fleet/executable.ts";
import { runtimeBinary } from "../../support/bare-runtime.ts";
import { tempDir } from "../../support/temp.ts";

test("auto is the executable that the SDK itself would start", () => {
  expect(runtimeExecutable("auto")).toBe(runtimeBinary());
});

test("a name is looked for in the fixed path, not in ours", async () => {
  await using dir = await tempDir();
  const mine = join(dir.path, "only-in-our-path");
  await writeFile(mine, "#!/bin/sh\n");
  await chmod(mine, 0o755);
  const path = process.env.PATH;
  process.env.PATH = dir.path;
  try {
    expect(findProgram("only-in-our-path")).toBeUndefined();
    expect(runtimeExecutable("cat")).toMatch(/^\/(usr\/)?(local\/)?bin\/cat$/);
  } finally {
    process.env.PATH = path;
  }
  expect(runtimeExecutable(mine)).toBe(mine);
});

test("what is missing, a directory, or not executable is an error that names the key", async () => {
  await using dir = await tempDir();
  const plain = join(dir.path, "plain");
  await writeFile(plain, "");
  for (const command of ["/no/such/runtime", "no-such-program", dir.path, plain]) {
    expect(() => runtimeExecutable(command)).toThrow(
      expect.objectContaining({
        code: "config_invalid",
        message: expect.stringContaining("runtimes.command"),
      }),
    );
  }
});
