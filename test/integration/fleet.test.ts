import { readdirSync, readFileSync, readlinkSync } from "node:fs";
import { readdir, stat } from "node:fs/promises";
import { dirname, join } from "node:path";
import { expect, test } from "vitest";
import { Secret } from "../../src/kernel/secret.ts";
import { within } from "../support/wait.ts";
import { createSession, isAlive, processesOf, testFleet, user } from "./fixtures/fleet.ts";

test("200 parallel callers of one unit get one process", async () => {
  await using t = await testFleet();
  const all = await Promise.all(Array.from({ length: 200 }, () => t.fleet.runtimeFor(user("alice"))));
  expect(new Set(all).size).toBe(1);
  expect(processesOf(t.statePath)).toEqual([all[0]?.pid]);
  expect(t.fleet.find("user/acme/alice")).toBe(all[0]);
});

test("20 units are 20 processes with directories of their own, and close ends all", async () => {
  const t = await testFleet();
  await using _ = t;
  const all = await Promise.all(Array.from({ length: 20 }, (_, i) => t.fleet.runtimeFor(user(`u${i}`))));
  for (const fact of ["pid", "home", "workingDirectory"] as const) {
    expect(new Set(all.map((runtime) => runtime[fact])).size).toBe(20);
  }
  expect(processesOf(t.statePath).sort()).toEqual(all.map((r) => r.pid).sort());
  await t.fleet.close();
  expect(processesOf(t.statePath)).toEqual([]);
  expect(t.closed).toHaveLength(20);
  expect(t.fleet.list()).toEqual([]);
  await expect(t.fleet.runtimeFor(user("late"))).rejects.toMatchObject({ code: "draining" });
});

test("a runtime has answered, has our model hook, and can be given a session", async () => {
  await using t = await testFleet();
  const runtime = await t.fleet.runtimeFor(user("alice"));
  expect(runtime.version).toMatch(/^\d+\.\d+\.\d+/);
  const created = (await createSession(runtime, "s1")).result();
  expect(created).toMatchObject({ sessionId: "s1" });
  await expect(runtime.peer.request("llmInference.setProvider", {})).rejects.toThrow();
  expect(await readdir(join(runtime.home, "session-state"))).toContain("s1");
});

test("a runtime's environment holds what we put there and nothing of ours", async () => {
  process.env.SQUADRON_TEST_CANARY = "canary";
  await using t = await testFleet({ env: { COPILOT_API_URL: new Secret("http://127.0.0.1:9") } });
  const { pid, home } = await t.fleet.runtimeFor(user("alice"));
  const environment = readFileSync(`/proc/${pid}/environ`, "utf8").split("\0").filter(Boolean);
  expect(environment.map((entry) => entry.split("=")[0]).sort()).toEqual([
    "COPILOT_API_URL",
    "COPILOT_DISABLE_KEYTAR",
    "COPILOT_HOME",
    "HOME",
    "LANG",
    "PATH",
    "TMPDIR",
  ]);
  expect(environment).toContain("COPILOT_API_URL=http://127.0.0.1:9");
  expect(environment).toContain(`COPILOT_HOME=${home}`);
  expect(environment).toContain("PATH=/usr/local/bin:/usr/bin:/bin");
});

test("everything of a runtime lies in its directory, which only our uid can enter", async () => {
  await using t = await testFleet();
  const runtime = await t.fleet.runtimeFor(user("alice"));
  const root = dirname(runtime.homeDirectory);
  for (const path of [
    t.statePath,
    join(t.statePath, "boxes"),
    root,
    runtime.home,
    runtime.workingDirectory,
  ]) {
    expect((await stat(path)).mode & 0o777).toBe(0o700);
  }
  for (const path of [runtime.home, runtime.workingDirectory]) expect(path.startsWith(`${root}/`)).toBe(true);
  expect(readlinkSync(`/proc/${runtime.pid}/cwd`)).toBe(runtime.workingDirectory);
});

test("a runtime listens nowhere", async () => {
  await using t = await testFleet();
  const runtime = await t.fleet.runtimeFor(user("alice"));
  await createSession(runtime, "s1");
  const descriptors = `/proc/${runtime.pid}/fd`;
  const inodes = readdirSync(descriptors).flatMap((fd) => {
    try {
      return /^socket:\[(\d+)\]$/.exec(readlinkSync(join(descriptors, fd)))?.[1] ?? [];
    } catch {
      return [];
    }
  });
  const listening = ["tcp", "tcp6", "udp", "udp6"].flatMap((table) =>
    readFileSync(`/proc/${runtime.pid}/net/${table}`, "utf8")
      .split("\n")
      .slice(1)
      .map((row) => row.trim().split(/\s+/))
      .filter(([, , , state, , , , , , inode]) => inodes.includes(inode ?? "") && state !== "01"),
  );
  expect(inodes.length).toBeGreaterThan(0);
  expect(listening).toEqual([]);
});

test("list tells what each process is and costs", async () => {
  await using t = await testFleet({ probeEveryMs: 20 });
  const before = Date.now();
  const runtime = await t.fleet.runtimeFor(user("alice"));
  await createSession(runtime, "s1");
  // The system counts in steps of ten milliseconds.
  await expect
    .poll(
      async () => {
        await Promise.all(Array.from({ length: 100 }, () => runtime.peer.request("ping", {})));
        return t.fleet.list()[0]?.cpuSeconds;
      },
      { timeout: 10_000, interval: 1 },
    )
    .toBeGreaterThan(0);
  const [status] = t.fleet.list();
  expect(status).toMatchObject({
    id: runtime.id,
    isolation: "user",
    unitKey: "user/acme/alice",
    state: "ready",
    pid: runtime.pid,
  });
  expect(status?.startedAt).toBeGreaterThanOrEqual(before);
  expect(status?.memoryBytes).toBeGreaterThan(5_000_000);
  expect(status?.memoryBytes).toBeLessThan(1_000_000_000);
  expect(status?.cpuSeconds).toBeLessThan(60);
  expect(status?.openFiles).toBeGreaterThan(3);
  expect(status?.turns).toBe(0);
  const text = await t.metrics.text();
  expect(text).toContain('squadron_runtimes{state="ready"} 1');
  expect(text).toContain("squadron_runtime_start_seconds_count 1");
});

test("a killed runtime's requests settle at once, it is forgotten, and the next caller gets a new one", async () => {
  await using t = await testFleet();
  const first = await t.fleet.runtimeFor(user("alice"));
  process.kill(first.pid, "SIGSTOP");
  const pending = Array.from({ length: 10 }, () => first.peer.request("ping", {}));
  const outcomes = Promise.allSettled(pending);
  process.kill(first.pid, "SIGKILL");
  await within(first.closed, { what: "the runtime is closed", deadlineMs: 2_000 });
  for (const outcome of await within(outcomes, { what: "requests settle", deadlineMs: 100 })) {
    expect(outcome).toMatchObject({ status: "rejected", reason: { code: "connection_closed" } });
  }
  expect(t.fleet.find("user/acme/alice")).toBeUndefined();
  expect(t.closed).toEqual([first]);
  const second = await t.fleet.runtimeFor(user("alice"));
  expect(second.pid).not.toBe(first.pid);
  expect(second.home).not.toBe(first.home);
  expect(t.lines).toContainEqual(
    expect.objectContaining({ level: "warn", runtime: first.id, signal: "SIGKILL" }),
  );
});

test("kill ends requests in flight, the process, and the shells that it had started", async () => {
  await using t = await testFleet();
  const runtime = await t.fleet.runtimeFor(user("alice"));
  await createSession(runtime, "s1");
  await runtime.peer.request("session.shell.exec", {
    sessionId: "s1",
    command: "setsid sleep 600 & sleep 600",
  });
  await expect.poll(() => processesOf(t.statePath).length).toBeGreaterThanOrEqual(3);
  const pids = processesOf(t.statePath);
  process.kill(runtime.pid, "SIGSTOP");
  const pending = runtime.peer.request("ping", {});
  const killed = runtime.kill();
  await expect(pending).rejects.toMatchObject({
    code: "connection_closed",
    cause: { code: "runtime_gone" },
  });
  await within(killed, { what: "the runtime is killed", deadlineMs: 3_000 });
  expect(pids.filter(isAlive)).toEqual([]);
  expect(t.fleet.list()).toEqual([]);
});

test("a runtime's files are gone when it is; a caller meanwhile gets a fresh one", async () => {
  await using t = await testFleet();
  const runtime = await t.fleet.runtimeFor(user("alice"));
  await createSession(runtime, "s1");
  const released = t.fleet.release("user/acme/alice");
  expect(runtime.gone).toBe(true);
  const next = t.fleet.runtimeFor(user("alice"));
  await released;
  expect(isAlive(runtime.pid)).toBe(false);
  const fresh = await next;
  expect(fresh.pid).not.toBe(runtime.pid);
  expect(fresh.gone).toBe(false);
  expect(await readdir(fresh.home, { recursive: true })).not.toContain("session-state/s1");
  await t.fleet.close();
  expect(await readdir(join(t.statePath, "boxes"))).toEqual([]);
});

test("a full node says so, and has room again when a runtime has gone", async () => {
  await using t = await testFleet({ max: 2 });
  await Promise.all([t.fleet.runtimeFor(user("a")), t.fleet.runtimeFor(user("b"))]);
  await expect(t.fleet.runtimeFor(user("c"))).rejects.toMatchObject({
    code: "no_capacity",
    details: { limit: "runtimes.max", value: 2 },
  });
  await t.fleet.runtimeFor(user("a"));
  await t.fleet.release("user/acme/a");
  await t.fleet.runtimeFor(user("c"));
  expect(t.fleet.list()).toHaveLength(2);
});
