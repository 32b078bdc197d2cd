import { chmod } from "node:fs/promises";
import { join } from "node:path";
import { afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { needBoxes } from "../support/bubblewrap.ts";
import { tempDir } from "../support/temp.ts";
import { runCli } from "./cli-process.ts";

beforeAll(needBoxes);

let stack: AsyncDisposableStack;
beforeEach(() => {
  stack = new AsyncDisposableStack();
});
afterEach(() => stack.disposeAsync());

/** A directory whose `inner` is the node's, and which others may enter or not. */
const place = async (mode: number) => {
  const directory = stack.use(await tempDir("sandbox-cli"));
  await chmod(directory.path, mode);
  const statePath = join(directory.path, "inner", "state");
  const env = { SQUADRON_RUNTIMES_SANDBOX_KIND: "bubblewrap", SQUADRON_STATE_PATH: statePath };
  return {
    cwd: directory.path,
    env: { ...env, SQUADRON_STORE_URL: `sqlite:${join(directory.path, "s.db")}` },
  };
};

describe("a configuration with a sandbox, on a host that can have one", () => {
  test("is valid, and doctor shows what boxes have here", async () => {
    const options = await place(0o711);
    expect(await runCli(["config", "check"], options)).toMatchObject({ code: 0 });
    const { stdout } = await runCli(["doctor", "--json"], options);
    const { findings }: { findings: { name: string; state: string; message: string }[] } = JSON.parse(stdout);
    const of = (name: string) => findings.find((finding) => finding.name === name);
    expect(of("sandbox")).toMatchObject({ state: "ok", message: expect.stringContaining("bubblewrap 0") });
    expect(of("box user")).toMatchObject({ state: "ok" });
    expect(of("box memory")).toMatchObject({ state: "ok" });
    expect(of("box limits")?.message).toMatch(/cgroup|limits bound single processes/);
    expect(of("runtime start")).toMatchObject({ state: "ok" });
  });

  test("is refused where the users of boxes cannot reach the state directory; it says which directory", async () => {
    const options = await place(0o700);
    const { code, stdout } = await runCli(["config", "check", "--json"], options);
    expect(code).toBe(1);
    expect(JSON.parse(stdout)).toMatchObject({
      valid: false,
      problems: [expect.stringMatching(`^state.path: .*cannot reach ${options.cwd}: chmod`)],
    });
    const doctor = await runCli(["doctor", "--json"], options);
    expect(JSON.parse(doctor.stdout).findings).toContainEqual(
      expect.objectContaining({
        name: "sandbox",
        state: "fail",
        message: expect.stringContaining("chmod o+x"),
      }),
    );
  });
});

test("without a sandbox, doctor says in one line whether there could be one", async () => {
  const options = await place(0o700);
  const { stdout } = await runCli(["doctor", "--json"], {
    ...options,
    env: { ...options.env, SQUADRON_RUNTIMES_SANDBOX_KIND: "none" },
  });
  const { findings }: { findings: { name: string }[] } = JSON.parse(stdout);
  expect(findings.filter(({ name }) => name === "sandbox" || name.startsWith("box "))).toEqual([
    { name: "sandbox", state: "ok", message: expect.stringMatching(/^none is configured; bubblewrap is /) },
  ]);
});
