import { mkdir, readFile, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { startTicksOf } from "../../../src/fleet/process-table.ts";
import { type LaunchPlan, planLaunch } from "../../../src/fleet/sandbox/launch.ts";
import { copyRuntime } from "../../../src/fleet/sandbox/runtime-copy.ts";
import { createUids } from "../../../src/fleet/sandbox/uids.ts";
import { type TempDir, tempDir } from "../../support/temp.ts";

let directory: TempDir;
beforeEach(async () => {
  directory = await tempDir("sandbox-unit");
});
afterEach(() => directory.remove());

describe("the launch of a box", () => {
  const plan: LaunchPlan = {
    programs: { bwrap: "/usr/bin/bwrap", setpriv: "/usr/bin/setpriv", prlimit: "/usr/bin/prlimit" },
    runtime: { root: "/state/runtime/v1", executable: "bin/copilot-runtime", shell: ".init/sh" },
    owner: { uid: 210_005, gid: 210_005 },
    group: 210_000,
    limits: { kind: "cgroup", entrances: ["/cg/memory/b/cgroup.procs", "/cg/pids/b/cgroup.procs"] },
    bubble: {
      place: {
        root: "/b",
        home: "/b/home",
        copilotHome: "/b/home/.copilot",
        work: "/b/work",
        temporary: "/b/tmp",
      },
      network: "none",
      temporaryBytes: 1024,
      runtimeRoot: "/state/runtime/v1",
      accounts: { passwd: "/state/passwd", group: "/state/group" },
    },
  };
  const box = {
    command: ["/host/copilot-runtime", "--stdio"] as [string, ...string[]],
    environment: { TOKEN: "secret" },
    workingDirectory: "/project",
  };

  test("enters the cgroups as the node, then drops the user, then leaves the host", () => {
    const { command, argumentsText } = planLaunch(box, plan);
    const line = command.join(" ");
    const order = [
      "/cg/memory/b/cgroup.procs",
      "/usr/bin/setpriv --reuid 210005",
      "/usr/bin/bwrap",
      "/opt/copilot/.init/sh",
      "/opt/copilot/bin/copilot-runtime --stdio",
    ];
    const at = order.map((part) => line.indexOf(part));
    expect(at).toEqual([...at].sort((a, b) => a - b));
    expect(at[0]).toBeGreaterThan(0);
    expect(line).not.toMatch(/secret|\/b\/home|prlimit/);
    expect(argumentsText).toContain("--setenv\0TOKEN\0secret\0");
    expect(argumentsText).toContain("--unshare-net\0");
    expect(argumentsText.indexOf("--remount-ro\0/\0")).toBeGreaterThan(
      argumentsText.indexOf("--bind\0/b/work\0/project\0"),
    );
    expect(argumentsText).not.toContain("resolv.conf");
  });

  test("without cgroups bounds each process; processes only where the user is the box's own", () => {
    const limits = { kind: "each", memoryBytes: 1000, processes: 7 } as const;
    expect(planLaunch(box, { ...plan, limits }).command.join(" ")).toContain(
      "prlimit --data=1000 --nproc=7 --",
    );
    const shared = planLaunch(box, { ...plan, limits, owner: undefined }).command.join(" ");
    expect(shared).toContain("prlimit --data=1000 --");
    expect(shared).not.toMatch(/--nproc|--reuid/);
  });

  test("with the host's network shows how names are resolved", () => {
    const open = planLaunch(box, { ...plan, bubble: { ...plan.bubble, network: "host" } }).argumentsText;
    expect(open).not.toContain("--unshare-net");
    expect(open).toContain("--ro-bind\0/etc/hosts\0/etc/hosts\0");
  });
});

describe("user ids of boxes", () => {
  const range = { first: 210_001, last: 210_004 };
  const takeAll = async (uids: ReturnType<typeof createUids>, count: number) => {
    const held = await Promise.all(Array.from({ length: count }, () => uids.take()));
    return {
      ids: held.map(({ uid }) => uid).sort(),
      release: () => Promise.all(held.map((one) => one.release())),
    };
  };

  test("are each given once, by two sandboxes of one process too, and again when they come back", async () => {
    const [one, two] = [createUids(directory.path, range), createUids(directory.path, range)];
    const first = await takeAll(one, 2);
    const second = await takeAll(two, 2);
    expect(new Set([...first.ids, ...second.ids]).size).toBe(4);
    await expect(one.take()).rejects.toMatchObject({ code: "no_capacity" });
    await first.release();
    const again = await takeAll(two, 2);
    expect(again.ids).toEqual(first.ids);
    await Promise.all([second.release(), again.release()]);
  });

  test("of another living node are left alone; those of a dead one are not, and its claims are swept", async () => {
    const living = `${process.ppid}.${startTicksOf(process.ppid)}`;
    await writeFile(join(directory.path, `210001.${living}`), "");
    // The pid lives, but is another process than the one that made the claim.
    const dead = join(directory.path, `210002.${process.ppid}.1`);
    await writeFile(dead, "");
    const uids = createUids(directory.path, range);
    const held = await takeAll(uids, 3);
    expect(held.ids).toEqual([210_002, 210_003, 210_004]);
    await uids.sweep();
    await expect(stat(dead)).rejects.toMatchObject({ code: "ENOENT" });
    expect(await readFile(join(directory.path, `210001.${living}`), "utf8")).toBe("");
    await held.release();
  });
});

describe("the runtime's copy", () => {
  test("has an unreadable program, everything beside it, and is made once for each version", async () => {
    const source = join(directory.path, "package");
    await mkdir(join(source, "prebuilds", "linux-x64"), { recursive: true });
    await mkdir(join(source, "tools"));
    const program = join(source, "prebuilds", "linux-x64", "copilot-runtime");
    await writeFile(program, "one", { mode: 0o755 });
    await writeFile(join(source, "tools", "grep"), "tool", { mode: 0o755 });
    const parent = join(directory.path, "copies");

    const [copy] = [await copyRuntime(program, parent), await copyRuntime(program, parent)];
    const mode = async (path: string) => (await stat(path)).mode & 0o777;
    expect(await mode(join(copy.root, copy.executable))).toBe(0o111);
    expect(await mode(join(copy.root, copy.shell))).toBe(0o111);
    expect(await mode(program)).toBe(0o755);
    expect(await readFile(join(copy.root, "tools", "grep"), "utf8")).toBe("tool");

    await writeFile(program, "another");
    const next = await copyRuntime(program, parent);
    expect(next.root).not.toBe(copy.root);
    await expect(stat(copy.root)).rejects.toMatchObject({ code: "ENOENT" });
  });

  test("of a program outside the SDK's package is the program and its library", async () => {
    const program = join(directory.path, "my-runtime");
    await writeFile(program, "x", { mode: 0o755 });
    await writeFile(join(directory.path, "runtime.node"), "library");
    await writeFile(join(directory.path, "unrelated"), "private");
    const copy = await copyRuntime(program, join(directory.path, "copies"));
    expect(await readFile(join(copy.root, "runtime.node"), "utf8")).toBe("library");
    await expect(stat(join(copy.root, "unrelated"))).rejects.toMatchObject({ code: "ENOENT" });
  });
});
