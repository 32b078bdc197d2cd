import { spawn } from "node:child_process";
import { once } from "node:events";
import { chmod, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { findLauncher } from "../../src/fleet/box.ts";
import { Secret } from "../../src/kernel/secret.ts";
import { runtimeBinary } from "../support/bare-runtime.ts";
import { tempDir } from "../support/temp.ts";
import { eventually, within } from "../support/wait.ts";
import { fleetOn, isAlive, processesOf, testFleet, user } from "./fixtures/fleet.ts";

const script = async (directory: string, body: string): Promise<string> => {
  const path = join(directory, "runtime");
  await writeFile(path, `#!/bin/sh\n${body}\n`);
  await chmod(path, 0o755);
  return path;
};

test("a command that is not there is an error before anything starts", async () => {
  await expect(testFleet({ command: "/no/such/runtime" })).rejects.toMatchObject({
    code: "config_invalid",
    message: expect.stringContaining("/no/such/runtime"),
  });
});

test("a command that never answers is killed at the time limit", async () => {
  await using dir = await tempDir();
  await using t = await testFleet({ command: await script(dir.path, "exec sleep 600"), startTimeoutMs: 200 });
  await expect(t.fleet.runtimeFor(user("a"))).rejects.toMatchObject({ code: "runtime_start_failed" });
  expect(processesOf(t.statePath)).toEqual([]);
  expect(t.fleet.list()).toEqual([]);
});

test("a command that only echoes is no runtime", async () => {
  await using dir = await tempDir();
  await using t = await testFleet({ command: await script(dir.path, "exec cat"), startTimeoutMs: 5_000 });
  await expect(t.fleet.runtimeFor(user("a"))).rejects.toMatchObject({ code: "runtime_start_failed" });
  expect(processesOf(t.statePath)).toEqual([]);
});

test("a command of another protocol version is killed", async () => {
  await using dir = await tempDir();
  const answer = '{"jsonrpc":"2.0","id":1,"result":{"ok":true,"protocolVersion":2}}';
  const body = `printf 'Content-Length: ${answer.length}\\r\\n\\r\\n${answer}'; exec sleep 600`;
  await using t = await testFleet({ command: await script(dir.path, body) });
  await expect(t.fleet.runtimeFor(user("a"))).rejects.toMatchObject({ code: "runtime_start_failed" });
  expect(JSON.stringify(t.lines)).toContain("protocol 2");
  expect(processesOf(t.statePath)).toEqual([]);
});

test("a spare that answers and then runs no turn is killed at the time limit of a start", async () => {
  await using dir = await tempDir();
  const program = `
    let id = 0;
    process.stdin.on("data", () => {
      if (++id > 2) return;
      const body = JSON.stringify({ jsonrpc: "2.0", id, result: { ok: true, protocolVersion: 3 } });
      process.stdout.write("Content-Length: " + body.length + String.fromCharCode(13, 10, 13, 10) + body);
    });`;
  const command = await script(dir.path, `exec ${process.execPath} -e '${program}'`);
  await using t = await testFleet({ command, spares: 1, startTimeoutMs: 2_000 });
  const failed = await eventually(() => t.lines.find(({ msg }) => msg === "a runtime could not be started"), {
    what: "the spare has failed",
    deadlineMs: 4_500,
  });
  expect(JSON.stringify(failed)).toContain("Warming a runtime up");
});

test("why a command exits at once is in the log, without secrets, and not in the client's error", async () => {
  await using dir = await tempDir();
  await using t = await testFleet({
    command: await script(dir.path, 'echo "cannot read $COPILOT_SECRET from /secret/place" >&2; exit 3'),
    env: { COPILOT_SECRET: new Secret("s3cr3t-value") },
  });
  const error = await t.fleet.runtimeFor(user("a")).then(
    () => undefined,
    (reason: unknown) => reason,
  );
  expect(error).toMatchObject({
    code: "runtime_start_failed",
    message: expect.not.stringContaining("secret"),
  });
  expect(t.lines).toContainEqual(
    expect.objectContaining({
      level: "error",
      stderr: ["cannot read [secret] from /secret/place"],
    }),
  );
  expect(JSON.stringify(t.lines)).not.toContain("s3cr3t");
});

test("a failed start is not kept: once the fault is mended, the next caller gets a runtime", async () => {
  await using dir = await tempDir();
  const command = await script(dir.path, "exit 1");
  await using t = await testFleet({ command });
  const failed = await Promise.allSettled([t.fleet.runtimeFor(user("a")), t.fleet.runtimeFor(user("a"))]);
  expect(failed.map(({ status }) => status)).toEqual(["rejected", "rejected"]);
  await script(dir.path, `exec ${runtimeBinary()} "$@"`);
  const runtime = await t.fleet.runtimeFor(user("a"));
  expect(isAlive(runtime.pid)).toBe(true);
});

test("when every start fails, callers are told so at once, and the node itself finds out when it is over", async () => {
  await using dir = await tempDir();
  const command = await script(dir.path, "exit 1");
  await using t = await testFleet({ command });
  for (let i = 0; i < 5; i++) {
    await expect(t.fleet.runtimeFor(user(`u${i}`))).rejects.toMatchObject({ code: "runtime_start_failed" });
  }
  const began = performance.now();
  await expect(t.fleet.runtimeFor(user("late"))).rejects.toMatchObject({
    code: "runtime_start_failed",
    details: { retryAfter: 1 },
  });
  expect(performance.now() - began).toBeLessThan(500);
  expect(t.fleet.condition).toMatchObject({
    kind: "failing",
    reason: "The last starts of a runtime all failed: The connection closed before connect was answered.",
  });
  await script(dir.path, `exec ${runtimeBinary()} "$@"`);
  // Nobody asks for a runtime: a load balancer sends nobody to a node that is not ready.
  await eventually(() => t.fleet.condition.kind === "ok", { what: "the node can start runtimes again" });
  expect(isAlive((await t.fleet.runtimeFor(user("late"))).pid)).toBe(true);
  // What tried it is no spare, for none are configured.
  await eventually(() => t.fleet.list().length === 1, { what: "the trial is gone" });
});

test("a unit whose runtimes die soon waits longer each time, the others do not", async () => {
  await using t = await testFleet();
  let waited = 0;
  for (let i = 0; i < 4; i++) {
    const began = performance.now();
    const runtime = await t.fleet.runtimeFor(user("a"));
    waited = performance.now() - began;
    process.kill(runtime.pid, "SIGKILL");
    await within(runtime.closed, { what: "the runtime is closed" });
  }
  expect(waited).toBeGreaterThan(300);
  const began = performance.now();
  await t.fleet.runtimeFor(user("b"));
  expect(performance.now() - began).toBeLessThan(waited);
  expect(await t.metrics.text()).toContain('squadron_runtime_recycles_total{reason="crashed"} 4');
});

test("one caller's abort ends its wait and nobody else's", async () => {
  await using t = await testFleet();
  const leaving = new AbortController();
  const one = t.fleet.runtimeFor(user("a"), leaving.signal);
  const other = t.fleet.runtimeFor(user("a"));
  leaving.abort();
  await expect(one).rejects.toMatchObject({ code: "cancelled" });
  expect(isAlive((await other).pid)).toBe(true);
  await expect(t.fleet.runtimeFor(user("a"), AbortSignal.abort())).rejects.toMatchObject({
    code: "cancelled",
  });
});

test("release during a start ends it, and the next caller starts anew", async () => {
  await using t = await testFleet();
  const first = t.fleet.runtimeFor(user("a"));
  const gone = expect(first).rejects.toMatchObject({ code: "runtime_gone" });
  await t.fleet.release("user/acme/a");
  await gone;
  expect(processesOf(t.statePath)).toEqual([]);
  expect(isAlive((await t.fleet.runtimeFor(user("a"))).pid)).toBe(true);
});

test("a runtime that closes its pipe and stays is killed; writing to it harms nobody", async () => {
  await using t = await testFleet();
  const runtime = await t.fleet.runtimeFor(user("a"));
  process.kill(runtime.pid, "SIGKILL");
  for (let i = 0; i < 200; i++) runtime.peer.notify("$/noise", { text: "x".repeat(10_000) });
  await within(runtime.closed, { what: "the runtime is closed", deadlineMs: 2_000 });
  runtime.peer.notify("$/noise", {});
  await expect(runtime.peer.request("ping", {})).rejects.toMatchObject({ name: "SquadronError" });
});

const owner = async (statePath: string, shell: string) => {
  const child = spawn(
    process.execPath,
    [fileURLToPath(new URL("fixtures/fleet-owner.ts", import.meta.url)), statePath, shell],
    { stdio: ["ignore", "pipe", "inherit"] },
  );
  const [line] = await within(once(createInterface({ input: child.stdout }), "line"), {
    what: "the node has a runtime",
    deadlineMs: 30_000,
  });
  const { pid }: { pid: number } = JSON.parse(String(line));
  return { child, pid };
};

test("kill -9 of a node leaves no runtime", async () => {
  await using dir = await tempDir();
  const { child, pid } = await owner(join(dir.path, "state"), "");
  expect(isAlive(pid)).toBe(true);
  child.kill("SIGKILL");
  await expect.poll(() => isAlive(pid), { timeout: 5_000, interval: 5 }).toBe(false);
});

test("not even one that is stopped and sees no end of its input", async () => {
  expect(findLauncher()).not.toEqual([]);
  await using dir = await tempDir();
  const { child, pid } = await owner(join(dir.path, "state"), "");
  process.kill(pid, "SIGSTOP");
  child.kill("SIGKILL");
  await expect.poll(() => isAlive(pid), { timeout: 5_000, interval: 5 }).toBe(false);
});

test("what shells of a killed node's runtime are left ends when the next node starts", async () => {
  await using dir = await tempDir();
  const statePath = join(dir.path, "state");
  const { child, pid } = await owner(statePath, "sleep 600");
  await expect.poll(() => processesOf(statePath).length).toBeGreaterThanOrEqual(2);
  const living = fleetOn(statePath);
  await living.close();
  // The node lives: nothing of it has been touched.
  expect(isAlive(pid)).toBe(true);
  child.kill("SIGKILL");
  await expect.poll(() => isAlive(pid), { timeout: 5_000, interval: 5 }).toBe(false);
  expect(processesOf(statePath).length).toBeGreaterThan(0);
  const next = fleetOn(statePath);
  await next.close();
  expect(processesOf(statePath)).toEqual([]);
});
