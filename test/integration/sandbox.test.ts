import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { rm } from "node:fs/promises";
import { createServer } from "node:net";
import { dirname, join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { createSandbox } from "../../src/fleet/sandbox/sandbox.ts";
import { createLog } from "../../src/telemetry/log.ts";
import { needBoxes } from "../support/bubblewrap.ts";
import { tempDir } from "../support/temp.ts";
import { eventually } from "../support/wait.ts";
import { cgroupFile, pidsOf, strict, type TestBox, testGround } from "./fixtures/sandbox.ts";

beforeAll(needBoxes);

let stack: AsyncDisposableStack;
beforeEach(() => {
  stack = new AsyncDisposableStack();
});
afterEach(() => stack.disposeAsync());

const ground = async (...config: Parameters<typeof testGround>) => stack.use(await testGround(...config));
const uidOf = (box: TestBox): number => box.seat.owner?.uid ?? 0;

describe("a box", () => {
  test("shows no foreign file, and nothing can be written but its own directories", async () => {
    const secret = stack.use(await tempDir("secret"));
    const file = join(secret.path, "secret.txt");
    writeFileSync(file, "the host's", { mode: 0o644 });
    const box = await (await ground()).open();

    const seen = await box.shell(`cat ${file}; ls ${secret.path} /root /var /run /sys /home; ls /`);
    expect(seen.output).not.toContain("the host's");
    const rootOf = seen.output.slice(seen.output.indexOf("/home:")).split(/\s+/).filter(Boolean);
    for (const name of ["root", "var", "run", "sys", "mnt", "srv"]) expect(rootOf).not.toContain(name);

    const writable = await box.shell(
      "find / -path /proc -prune -o -type d -writable -print 2>/dev/null; true",
    );
    const below = (path: string) =>
      ["/home/u", "/project", "/tmp", "/dev/shm"].some((own) => path === own || path.startsWith(`${own}/`));
    const found = writable.output.split("\n").filter(Boolean);
    expect(found).toEqual(expect.arrayContaining(["/home/u", "/project", "/tmp"]));
    // The empty directories above mounts have the box's owner; what is mounted read-only stays so.
    const really = await box.shell(
      `for d in ${found.filter((path) => !below(path)).join(" ")}; do touch $d/x 2>/dev/null && echo $d; done; true`,
    );
    expect(really.output).toBe("");

    await box.shell("echo mine > /project/file; echo home > ~/file");
    expect(readFileSync(join(box.root, "work", "file"), "utf8")).toBe("mine\n");
    expect(readFileSync(join(box.root, "home", "file"), "utf8")).toBe("home\n");
    const bounded = await box.shell(
      "head -c 200000000 /dev/zero > /tmp/big; head -c 20000000 /dev/zero > /dev/shm/big",
    );
    expect(bounded.output.match(/No space left/g)).toHaveLength(2);
  });

  test("shows only its own processes, and no port of the host", async () => {
    const server = createServer((socket) => socket.end("hello"));
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    stack.defer(() => void server.close());
    const address = server.address();
    const port = typeof address === "object" && address !== null ? address.port : 0;
    const look = `bash -c 'cat < /dev/tcp/127.0.0.1/${port}'; tail -n +2 /proc/net/tcp | wc -l`;

    const box = await (await ground()).open();
    const processes = (await box.shell("cat /proc/[0-9]*/comm")).output;
    expect(processes).toMatch(/copilot-runtime|runtime/);
    expect(processes).not.toMatch(/node|vitest|bwrap/);
    const network = await box.shell(look);
    expect(network.output).not.toContain("hello");
    expect(network.output).toMatch(/^0$/m);

    const open = await (await ground({ network: "host" })).open();
    expect((await open.shell(look)).output).toContain("hello");
  });

  test("hides the runtime and its guard: environment, memory, descriptors, tracing", async () => {
    process.env.SQUADRON_TEST_SECRET = "of-the-node";
    stack.defer(() => void delete process.env.SQUADRON_TEST_SECRET);
    const box = await (await ground()).open({ GIVEN: "to-the-runtime" });
    const looks = await box.shell(
      "for p in 1 2; do for f in environ mem maps auxv; do head -c 1 /proc/$p/$f >/dev/null 2>&1 && echo read $p $f; done; ls /proc/$p/fd /proc/$p/cwd/ >/dev/null 2>&1 && echo listed $p; done; env; true",
    );
    expect(looks.output).not.toMatch(/^(read|listed)/m);
    expect(looks.output).not.toContain("of-the-node");

    // ptrace(SEIZE) and pidfd_getfd: whoever could trace one of the two could take the runtime's pipe.
    const trace = (pid: string) =>
      `perl -e '$p=${pid}; print syscall(101,0x4206,$p,0,0)==0?"traced":"refused"; $f=syscall(434,$p,0); print syscall(438,$f,0,0)>=0?" taken":" kept"'`;
    if (process.arch === "x64") {
      for (const pid of ["1", "2"]) expect((await box.shell(trace(pid))).output).toBe("refused kept");
      // The probe itself works: on a process of its own kind it succeeds.
      expect(
        (
          await box.shell(
            `sleep 5 & p=$!; until grep -q sleep /proc/$p/comm; do :; done; ${trace("'$p'")}; kill $p`,
          )
        ).output,
      ).toBe("traced taken");
    }
  });

  test("keeps arguments and environment out of the host's command lines", async () => {
    const box = await (await ground()).open({ GIVEN: "to-the-runtime" });
    const lines = pidsOf(uidOf(box)).map((pid) => readFileSync(`/proc/${pid}/cmdline`, "latin1"));
    expect(lines.length).toBeGreaterThanOrEqual(3);
    expect(lines.join("")).not.toContain("to-the-runtime");
    expect(lines.join("")).not.toContain(box.root);
    expect(readFileSync(`/proc/${box.box.pid}/cmdline`, "latin1")).toContain("copilot-runtime");
  });

  test("bounds a fork bomb, and stays killable", async () => {
    const box = await (await ground({ processes: 64 })).open();
    const current = cgroupFile(box.box.pid, "pids", "pids.current");
    await box.start("f() { f | f & }; f; f; sleep 1000");
    await eventually(() => Number(readFileSync(current, "utf8")) > 60, {
      what: "the bomb has filled its box",
    });
    expect(Number(readFileSync(current, "utf8"))).toBeLessThanOrEqual(64);
    await box.close();
    expect(pidsOf(uidOf(box))).toEqual([]);
    expect(existsSync(dirname(current))).toBe(false);
  });

  test("kills what takes too much memory, and goes on", async () => {
    const box = await (await ground({ memoryBytes: 384 * 2 ** 20 })).open();
    const hog = await box.shell("sh -c 'tail /dev/zero'; echo ended with $?");
    expect(hog.output).toContain("ended with 137");
    expect((await box.shell("echo still here")).output).toBe("still here\n");
  });

  test("leaves no process, cgroup, mount or user id when it is emptied", async () => {
    const here = await ground();
    const box = await here.open();
    await box.start(
      "setsid sh -c 'trap \"\" TERM HUP; while :; do sleep 1; done' & nohup sleep 1000 & sleep 1000",
    );
    await eventually(() => pidsOf(uidOf(box)).length >= 6, { what: "the shells run" });
    const cgroup = dirname(cgroupFile(box.box.pid, "memory", "x"));
    expect(existsSync(cgroup)).toBe(true);

    await box.box.empty();
    expect(pidsOf(uidOf(box))).toEqual([]);
    expect(existsSync(cgroup)).toBe(false);
    expect(readFileSync("/proc/self/mountinfo", "utf8")).not.toContain(here.statePath);
    expect(await box.box.exited).toEqual({ code: null, signal: "SIGKILL" });
    await box.seat.release();
    expect(readdirSync(here.uidDirectory)).toEqual([]);
    await here.sandbox.close();
    expect(existsSync(dirname(cgroup))).toBe(false);
  });

  test("tells how its process ended, by itself or by a signal to it", async () => {
    const box = await (await ground()).open();
    process.kill(box.box.pid, "SIGTERM");
    expect(await box.box.exited).toEqual({ code: 0, signal: null });
    await box.box.empty();

    const other = await (await ground()).open();
    process.kill(other.box.pid, "SIGQUIT");
    expect((await other.box.exited).signal).toBe("SIGQUIT");
  });

  test("cannot see or touch another box", async () => {
    const here = await ground();
    const [one, two] = [await here.open(), await here.open()];
    expect(uidOf(one)).not.toBe(uidOf(two));
    await one.shell(
      "echo private > /tmp/mark; echo private > /dev/shm/mark; echo private > /project/mark; echo private > ~/mark",
    );
    await one.start("exec -a marked-process sleep 1000 || sleep 1000");
    const seen = await two.shell(
      `cat /tmp/mark /dev/shm/mark /project/mark ~/mark ${join(one.root, "work", "mark")}; cat /proc/[0-9]*/cmdline; kill -0 ${one.box.pid} && echo signal""led; ls ${here.statePath}`,
    );
    expect(seen.output).not.toMatch(/^private|^marked-process|signalled|^b0/m);
    // Nor by the host's own paths, were a box to break out: another user, whose directories are closed.
    expect(pidsOf(uidOf(one)).length).toBeGreaterThan(2);
    expect((await one.shell("cat /project/mark")).output).toBe("private\n");
  });

  test("ends with its node, however that ends; the next node removes what is left", async () => {
    const owner = spawn(
      process.execPath,
      [fileURLToPath(new URL("fixtures/sandbox-owner.ts", import.meta.url))],
      {
        stdio: ["ignore", "pipe", "inherit"],
      },
    );
    stack.defer(() => void owner.kill("SIGKILL"));
    const [line] = await once(createInterface({ input: owner.stdout }), "line");
    const told: { statePath: string; uidDirectory: string; uid: number; records: string; cgroups: string } =
      JSON.parse(line);
    stack.defer(() => rm(dirname(told.statePath), { recursive: true, force: true }));
    const [record = ""] = readdirSync(told.records);
    const parents = readFileSync(join(told.records, record), "utf8").trim().split("\n");
    expect(parents.every((path) => existsSync(path))).toBe(true);
    expect(pidsOf(told.uid).length).toBeGreaterThan(3);

    const ended = once(owner, "exit");
    owner.kill("SIGKILL");
    await ended;
    await eventually(() => pidsOf(told.uid).length === 0, { what: "the box has ended with its node" });
    const next = createSandbox({
      config: strict,
      executable: process.execPath,
      statePath: told.statePath,
      uidDirectory: told.uidDirectory,
      log: createLog({ level: "silent" }),
    });
    await next.sweep();
    expect(parents.some((path) => existsSync(path))).toBe(false);
    expect(readdirSync(told.records)).toEqual([]);
    expect(readdirSync(told.uidDirectory)).toEqual([]);
  });
});
