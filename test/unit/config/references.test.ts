// biome-ignore-all lint/suspicious/noTemplateCurlyInString: that is what references look like
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { loadConfig } from "../../../src/config/load.ts";
import { resolveReferences } from "../../../src/config/references.ts";
import { type TempDir, tempDir } from "../../support/temp.ts";
import { eventually } from "../../support/wait.ts";

const path = { PATH: process.env.PATH };

describe("references in the configuration", () => {
  let dir: TempDir;

  beforeEach(async () => {
    dir = await tempDir("references");
  });

  afterEach(() => dir.remove());

  const resolve = (value: unknown, env: NodeJS.ProcessEnv = {}, commandDeadlineMs?: number) =>
    resolveReferences(value, {
      env: { ...path, ...env },
      base: dir.path,
      ...(commandDeadlineMs === undefined ? {} : { commandDeadlineMs }),
    });

  it("are replaced in any text, also several in one", async () => {
    await writeFile(join(dir.path, "token"), "from file\n");
    const { value, problems } = await resolve(
      {
        a: "${env:A}",
        b: ["x-${env:A}-${file:token}-y", `\${file:${join(dir.path, "token")}}`],
        c: "${command:printf '%s\\n' \"$A\" | awk '{print $1}'}",
        d: "costs $5 {not one}",
        n: 7,
        ["__proto__"]: "${env:A}",
      },
      { A: "one ${env:B}" },
    );
    expect(problems).toEqual([]);
    expect(Object.entries(value as object)).toEqual([
      ["a", "one ${env:B}"],
      ["b", ["x-one ${env:B}-from file-y", "from file"]],
      ["c", "one"],
      ["d", "costs $5 {not one}"],
      ["n", 7],
      ["__proto__", "one ${env:B}"],
    ]);
  });

  it("run a command once, however often it is written", async () => {
    const command = "${command:echo x >> count; cat count}";
    const { value } = await resolve([command, command]);
    expect(value).toEqual(["x", "x"]);
  });

  it("say what is wrong, each at its key, without a value", async () => {
    await writeFile(join(dir.path, "big"), "x".repeat(70_000));
    const { problems } = await resolve({
      unset: "${env:NONE}",
      missing: "${file:none}",
      big: "${file:big}",
      failed: "${command:echo secret; echo secret >&2; exit 3}",
      other: "${vault:x}",
      open: "${env:A",
      bare: "${A}",
      endless: "${command:yes secret}",
    });
    expect(problems.map(({ path: [key], message }) => [key, message])).toEqual([
      ["unset", "the environment variable NONE is not set"],
      ["missing", `the file ${join(dir.path, "none")} cannot be read (ENOENT)`],
      ["big", `the file ${join(dir.path, "big")} is larger than 65536 bytes`],
      ["failed", "its command failed (exit code 3)"],
      ["other", "expected ${env:NAME}, ${file:/path} or ${command:…}"],
      ["open", 'a "${" is never closed'],
      ["bare", "expected ${env:NAME}, ${file:/path} or ${command:…}"],
      ["endless", "its command printed more than 65536 bytes"],
    ]);
  });

  it.each([
    ["that runs", "sleep 600 & echo $! > pid; wait"],
    ["that has ended but left something behind", "sleep 600 & echo $! > pid"],
  ])("end a command %s at its deadline, with all that it started", async (_, command) => {
    const { problems } = await resolve(`\${command:${command}}`, {}, 300);
    expect(problems).toEqual([{ path: [], message: "its command took longer than 300 ms" }]);
    const { value } = await resolve("${file:pid}");
    await eventually(() => !isAlive(Number(value)), { what: "the command's child is gone" });
  });

  it("are one problem each, beside others, when a configuration is loaded", async () => {
    const overrides = { sdk: { port: "${env:PORT}" }, http: { port: "${env:NO_PORT}", host: 1 } };
    const loading = loadConfig({ env: { PORT: "77", NO: "" }, overrides });
    await expect(loading).rejects.toMatchObject({
      details: {
        problems: [
          "options, http.port: the environment variable NO_PORT is not set",
          "options, http.host: expected an address or host name",
        ],
      },
    });
    expect((await loadConfig({ env: { PORT: "77" }, overrides: { sdk: overrides.sdk } })).sdk.port).toBe(77);
  });
});

const isAlive = (pid: number): boolean => {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
};
