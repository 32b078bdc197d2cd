import { readFileSync } from "node:fs";
import { chmod } from "node:fs/promises";
import type { CopilotClient, CopilotSession } from "@github/copilot-sdk";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { needBoxes } from "../support/bubblewrap.ts";
import { textsInMemory } from "../support/process-memory.ts";
import { connectRaw } from "../support/raw-client.ts";
import { type TempDir, tempDir } from "../support/temp.ts";
import { modelKey, startTestNode, type TestNode, users } from "../support/test-node.ts";
import { eventually, within } from "../support/wait.ts";
import { cgroupFile } from "./fixtures/sandbox.ts";

/** Whole only in the process under test. */
const environmentSecret = ["SQUADRON", "BOX", "SECRET", String(process.pid)].join("-");
const processes = 96;
const memoryBytes = 512 * 2 ** 20;
const approve = async () => ({ kind: "approve-once" }) as const;

type UserName = keyof typeof users;

const startBoxed = async (directory: string): Promise<TestNode> =>
  startTestNode({
    directory,
    allow: { all: true },
    runtimes: {
      sandbox: { kind: "bubblewrap", network: "none", memoryBytes, processes, cpus: 1 },
    },
  });

/** Two shells of one session: that which a client may use, and that which the model has as its tool. */
interface Shells {
  readonly client: CopilotClient;
  readonly session: CopilotSession;
  byClient(command: string): Promise<string>;
  byModel(command: string): Promise<string>;
}

describe("allow: all in boxes without a network", () => {
  let directory: TempDir;
  let squadron: TestNode;
  let alice: Shells;
  let bob: Shells;

  const runtimeOf = (user: UserName) => {
    const { tenant } = users[user];
    const runtime = squadron.node.fleet.find(`user/${tenant}/${user}`);
    if (runtime === undefined) throw new Error(`${user} has no runtime.`);
    return runtime;
  };

  const killRuntimeOf = async (user: UserName): Promise<void> => {
    const { pid, closed } = runtimeOf(user);
    process.kill(pid, "SIGKILL");
    await within(closed, { what: `the end of ${user}'s runtime` });
  };

  const shellsOf = async (user: UserName): Promise<Shells> => {
    const client = squadron.client(user);
    const session = await client.createSession({ sessionId: "s", onPermissionRequest: approve });
    let requests = 0;
    return {
      client,
      session,
      byClient: async (command) => {
        const requestId = `r${requests++}`;
        const { output } = await session.rpc.shell.executeUserRequested({ requestId, command });
        return output;
      },
      byModel: async (command) => {
        const call = JSON.stringify({ command, description: "looks around" });
        const answer = await session.sendAndWait(`[[call bash ${call}]]`);
        return answer?.data.content ?? "";
      },
    };
  };

  beforeAll(async () => {
    await needBoxes();
    process.env.SQUADRON_TEST_SECRET = environmentSecret;
    directory = await tempDir("boxes");
    await chmod(directory.path, 0o711);
    squadron = await startBoxed(directory.path);
    alice = await shellsOf("alice");
    bob = await shellsOf("bob");
  });
  afterAll(async () => {
    delete process.env.SQUADRON_TEST_SECRET;
    await squadron?.stop();
    await directory?.remove();
  });

  describe.each(["byClient", "byModel"] as const)("a shell, %s,", (way) => {
    const look = (command: string): Promise<string> => alice[way](command);

    it("works, in the working directory and as a user that is nobody on the host", async () => {
      expect(await look("pwd; id -u; echo $HOME")).toMatch(/\/project\n1000\n\/home\/u/);
      expect(await look("echo from-$((1 + 1)) > mine && cat mine")).toContain("from-2");
    });

    it("finds no file of another user or of the host", async () => {
      await bob.byClient("for d in /project ~ /tmp /dev/shm; do echo BOB-CANARY > $d/bobs-file; done");
      const root = directory.path;
      const found = await look(
        `cat /project/bobs-file ~/bobs-file /tmp/bobs-file /dev/shm/bobs-file 2>&1; ls ${root} ${root}/state/boxes /root /var 2>&1; find / -name 'bobs-fil*' -not -path '/proc/*' 2>/dev/null; grep -rl BOB-CANAR[Y] /project /home /tmp /dev/shm /etc /opt 2>/dev/null; cat /etc/shadow 2>&1; true`,
      );
      expect(found).toContain("No such file");
      expect(found).not.toMatch(/BOB-CANARY|^\/.*bobs-file$|root:/m);
      // It does find its own.
      await look("echo ALICE-CANARY > alices-file");
      expect(await look("grep -rl ALICE-CANAR[Y] /project /home 2>/dev/null")).toContain("alices-file");
    });

    it("finds no process of another user or of the host, and can signal none", async () => {
      await bob.session.rpc.shell.exec({ command: "bash -c 'exec -a bobs-process sleep 1000'", timeout: 0 });
      await eventually(
        async () => (await bob.byClient("cat /proc/[0-9]*/cmdline | tr '\\0' ' '")).includes("bobs-process"),
        {
          what: "bob's process",
        },
      );
      const seen = await look(
        "cat /proc/[0-9]*/cmdline 2>/dev/null | tr '\\0' ' '; ls /proc | grep -c '^[0-9]'; true",
      );
      expect(seen).toMatch(/copilot-runtime/);
      expect(seen).not.toMatch(/bobs-process|vitest|bwrap|node /);
      const { pid } = runtimeOf("bob");
      const signals = await look(
        [pid, process.pid, "$PPID", "$$"]
          .map((one) => `perl -e 'print "${one}: ", kill(0, $ARGV[0]) ? "there" : "none", "; "' ${one}`)
          .join("; "),
      );
      expect(signals).toMatch(new RegExp(`${pid}: none; ${process.pid}: none; .*there; .*there;`));
      expect(await bob.byClient("echo alive")).toContain("alive");
    });

    it("reads neither memory nor environment of the runtime, and no secret anywhere", async () => {
      const runtimes = "1 2 $(grep -l copilot-runtim[e] /proc/[0-9]*/comm 2>/dev/null | cut -d/ -f3)";
      const read = await look(
        `for p in ${runtimes}; do for f in environ mem maps auxv; do head -c 1 /proc/$p/$f >/dev/null 2>&1 && echo could read $p $f; done; ls /proc/$p/fd /proc/$p/cwd/ >/dev/null 2>&1 && echo could list $p; echo tried $p; done; head -c 1 /proc/$$/environ >/dev/null && echo its own it can`,
      );
      expect(read).toMatch(/tried 1\n(.*\n)*its own it can/);
      expect(read).not.toContain("could");
      const secrets = [modelKey, environmentSecret, users.alice.key, users.bob.key, users.admin.key];
      const pieces = secrets.map((secret) => `${secret.slice(0, -1)}[${secret.slice(-1)}]`).join("|");
      const found = await look(
        `env | grep -E '${pieces}'; cat /proc/[0-9]*/environ /proc/[0-9]*/cmdline 2>/dev/null | grep -aE '${pieces}'; grep -rlaE '${pieces}' /project /home /tmp /dev/shm /etc /run 2>/dev/null | grep -v session-state; echo end`,
      );
      for (const secret of secrets) expect(found.includes(secret)).toBe(false);
      expect(found.trimEnd()).toMatch(/(^|\s)end/);
    });

    it("reaches no port: not the host's, not another box's", async () => {
      await bob.session.rpc.shell.exec({
        command: `perl -MIO::Socket::INET -e '$s=IO::Socket::INET->new(LocalAddr=>"127.0.0.1",LocalPort=>34567,Listen=>5,ReuseAddr=>1) or die; while($c=$s->accept){print $c "BOBS-PORT\\n";close $c}'`,
        timeout: 0,
      });
      const ask = (port: number) => `timeout 2 bash -c 'cat < /dev/tcp/127.0.0.1/${port}' 2>&1`;
      await eventually(async () => (await bob.byClient(ask(34567))).includes("BOBS-PORT"), {
        what: "bob's port answers him",
      });
      const ports = [34567, squadron.node.sdk.port, squadron.node.http.port, squadron.model.port];
      for (const port of ports) {
        const answer = await look(`${ask(port)}; echo end`);
        expect(answer).toMatch(/refused|unreachable/i);
        expect(answer).not.toContain("BOBS-PORT");
      }
      expect(await look("tail -n +2 /proc/net/tcp | wc -l; tail -n +2 /proc/net/unix | grep -c @")).toMatch(
        /0\s+0/,
      );
    });
  });

  it("the provider's key is nowhere in the box: not in the runtime's memory, environment or files", async () => {
    const { pid, homeDirectory } = runtimeOf("alice");
    const keys = [modelKey, environmentSecret, `${users.bob.key}"`];
    const id = (await squadron.node.store.sessions.byName("acme", "alice", "s"))?.id ?? "none";
    expect([...(await textsInMemory(pid, [...keys, id]))]).toEqual([id]);
    for (const file of ["environ", "cmdline"])
      for (const key of keys)
        expect(readFileSync(`/proc/${pid}/${file}`, "latin1").includes(key)).toBe(false);
    expect(homeDirectory).toContain(directory.path);
  });

  it("what the model makes with its file tools survives kill -9, under the same path", async () => {
    const { session } = alice;
    const call = async (tool: string, args: object): Promise<string> =>
      (await session.sendAndWait(`[[call ${tool} ${JSON.stringify(args)}]]`))?.data.content ?? "";
    const path = "/project/notes/plan.txt";
    await alice.byClient("mkdir -p /project/notes");
    expect(await call("create", { path, file_text: "first line\nsecond line\n" })).toContain("plan.txt");
    await call("edit", { path, old_str: "second", new_str: "changed" });
    expect(await call("view", { path })).toContain("changed line");
    await killRuntimeOf("alice");
    expect(await call("view", { path })).toContain("changed line");
    expect(await alice.byModel(`cat ${path}; stat -c %U:%a ${path}; echo more >> ${path}`)).toContain(
      "changed line",
    );
    await killRuntimeOf("alice");
    expect(await alice.byClient(`cat ${path}`)).toContain("more");
  });

  it("settings that are no session's survive kill -9", async () => {
    await alice.client.rpc.user.settings.set({ settings: { askUser: false } });
    await killRuntimeOf("alice");
    const { settings } = await alice.client.rpc.user.settings.get();
    expect(settings.askUser?.value).toBe(false);
    expect((await bob.client.rpc.user.settings.get()).settings.askUser?.value).toBe(null);
  });

  it("a fork bomb stays in its box, others go on, and its own user too after a kill", async () => {
    const { pid } = runtimeOf("alice");
    const current = cgroupFile(pid, "pids", "pids.current");
    await alice.session.rpc.shell.exec({ command: "f() { f | f & }; f; f; sleep 1000", timeout: 0 });
    await eventually(() => Number(readFileSync(current, "utf8")) > processes - 5, {
      what: "the bomb has filled its box",
    });
    expect(Number(readFileSync(current, "utf8"))).toBeLessThanOrEqual(processes);
    for (let turn = 0; turn < 5; turn++) expect(await bob.byModel("echo I go on")).toContain("I go on");
    await killRuntimeOf("alice");
    expect(await alice.byModel("echo I too")).toContain("I too");
  });

  it("a memory hog ends in its box, and others go on", async () => {
    const { pid } = runtimeOf("bob");
    const hog = alice.byClient("sh -c 'tail /dev/zero'; echo ended with $?").catch(String);
    for (let turn = 0; turn < 5; turn++) expect(await bob.byModel("echo I go on")).toContain("I go on");
    // What the kernel takes is the hog, or the whole of its box; the session goes on in either case.
    expect(await within(hog, { what: "the end of the hog", deadlineMs: 30_000 })).toMatch(
      /ended with 137|Killed|gone/,
    );
    expect(await alice.byModel("echo I too")).toContain("I too");
    expect(runtimeOf("bob").pid).toBe(pid);
  });

  it("what session.shell.exec writes comes to its own client alone", async () => {
    await using raw = await connectRaw(squadron.node.sdk.port, users.alice.key);
    await using other = await connectRaw(squadron.node.sdk.port, users.bob.key);
    await raw.ask("session.resume", { sessionId: "s" });
    await other.ask("session.resume", { sessionId: "s" });
    await raw.ask("session.shell.exec", { sessionId: "s", command: "echo in the box; id -u" });
    await eventually(() => raw.received().includes("shell.exit"), { what: "the exit" });
    expect(raw.received()).toContain("in the box\\n1000\\n");
    expect(other.received().includes("shell.")).toBe(false);
  });

  it("a turn costs about what it costs outside", { timeout: 120_000 }, async ({ annotate }) => {
    const open = await startTestNode({ allow: { all: true }, policy: { trusted: true } });
    try {
      const outside = await open
        .client("alice")
        .createSession({ sessionId: "t", onPermissionRequest: approve });
      const inside = await squadron
        .client("carol")
        .createSession({ sessionId: "t", onPermissionRequest: approve });
      const times: Record<"inside" | "outside", number[]> = { inside: [], outside: [] };
      for (let turn = 0; turn < 60; turn++)
        for (const [where, session] of Object.entries({ inside, outside }) as [
          "inside" | "outside",
          CopilotSession,
        ][]) {
          const begun = performance.now();
          await session.sendAndWait("[[echo measured]]");
          if (turn >= 10) times[where].push(performance.now() - begun);
        }
      const median = (list: number[]): number => list.toSorted((a, b) => a - b)[list.length >> 1] ?? 0;
      const [boxed, bare] = [median(times.inside), median(times.outside)];
      await annotate(
        `p50 of a turn: ${boxed.toFixed(1)} ms in a box, ${bare.toFixed(1)} ms outside, ${(boxed / bare).toFixed(2)} times as much`,
      );
    } finally {
      await open.stop();
    }
  });
});
