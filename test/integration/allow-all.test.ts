import { dirname } from "node:path";
import { fileURLToPath } from "node:url";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { isObject } from "../../src/kernel/json.ts";
import { Secret } from "../../src/kernel/secret.ts";
import { connectRaw, openRawClient, type RawClient } from "../support/raw-client.ts";
import { startTestNode, type TestNode, type TestNodeOptions, users } from "../support/test-node.ts";
import { lastAnswer, rowOf, sayIn } from "../support/victim.ts";
import { eventually } from "../support/wait.ts";

const infinite = { enabled: true, backgroundCompactionThreshold: 0.8 };
const sleepsAfter = (hibernateAfterMs: number) => ({
  policy: { sessions: { ttlMs: 1e9, hibernateAfterMs, infinite }, trusted: true },
});

const sdkPath = dirname(fileURLToPath(import.meta.resolve("@github/copilot-sdk")));

let stack: AsyncDisposableStack;
beforeEach(() => {
  stack = new AsyncDisposableStack();
});
afterEach(() => stack.disposeAsync());

const open = async (options: TestNodeOptions = {}): Promise<TestNode> =>
  stack.use(await startTestNode({ allow: { all: true }, policy: { trusted: true }, ...options }));
const connect = async ({ node }: TestNode, user: keyof typeof users = "alice"): Promise<RawClient> =>
  stack.use(await connectRaw(node.sdk.port, users[user].key));

const killRuntimes = async ({ node }: TestNode): Promise<void> => {
  for (const { pid } of node.fleet.list()) if (pid !== undefined) process.kill(pid, "SIGKILL");
  await eventually(() => node.fleet.list().length === 0, { what: "the runtimes are gone" });
};

const told = (client: RawClient, method: string): readonly Record<string, unknown>[] =>
  client.messages.flatMap(({ body }) =>
    body.method === method && isObject(body.params) ? [body.params] : [],
  );

/** Runs a command by `session.shell.exec`; what it wrote. */
const run = async (client: RawClient, sessionId: string, command: string): Promise<string> => {
  const { processId } = await client.ask("session.shell.exec", { sessionId, command });
  const own = (method: string) => told(client, method).filter((one) => one.processId === processId);
  await eventually(() => own("shell.exit").length === 1, { what: `the end of ${command}` });
  return own("shell.output")
    .map(({ data }) => String(data))
    .join("");
};

const hostOf = async ({ node }: TestNode, name: string) => {
  const { id } = await rowOf(node, name);
  const host = node.gateway.hosts.find(({ row }) => row.id === id);
  if (host === undefined) throw new Error(`${name} is not open.`);
  return host;
};

describe("a call about a runtime", () => {
  const setting = async (client: RawClient): Promise<unknown> => {
    const { settings } = await client.ask("user.settings.get");
    return isObject(settings) && isObject(settings.askUser) ? settings.askUser.value : undefined;
  };

  it("goes to that of the caller's user, and what it changed survives kill -9", async () => {
    const squadron = await open();
    const [alice, bob] = [await connect(squadron), await connect(squadron, "bob")];
    await alice.ask("user.settings.set", { settings: { askUser: false } });
    process.kill(squadron.node.fleet.list()[0]?.pid ?? 0, "SIGKILL");
    await eventually(() => squadron.node.fleet.list().length === 0, { what: "the runtime is gone" });
    expect(await setting(alice)).toBe(false);
    expect(await setting(bob)).toBe(null);
    expect(new Set(squadron.node.fleet.runtimes().map(({ unit }) => unit.key))).toEqual(
      new Set(["user/acme/alice", "user/acme/bob"]),
    );
    // The same files are there for her sessions.
    await alice.ask("session.create", { sessionId: "s" });
    expect(await run(alice, "s", "cat ~/.copilot/settings.json")).toContain('"askUser": false');
  });

  it("starts a runtime that ends when it is idle, and not while a session is in it", async () => {
    const squadron = await open(sleepsAfter(50));
    const alice = await connect(squadron);
    await alice.ask("user.settings.set", { settings: { askUser: false } });
    await eventually(() => squadron.node.fleet.list().length === 0, { what: "the runtime has ended" });
    await alice.ask("session.create", { sessionId: "s" });
    const turn = sayIn(alice, "s", "[[hold go]] [[echo done]]");
    await eventually(() => squadron.model.holding("go") > 0, { what: "the turn runs" });
    const [{ pid } = { pid: 0 }] = squadron.node.fleet.list();
    await alice.ask("tools.list");
    squadron.model.release("go");
    expect(await turn).toContain("done");
    expect(squadron.node.fleet.list().every((one) => one.pid === pid)).toBe(true);
  });

  it("goes, where each session has a runtime of its own, to that of the one opened last", async () => {
    const squadron = await open({ isolation: "session" });
    const alice = await connect(squadron);
    expect(await alice.call("user.settings.get")).toMatchObject({ code: "method_denied" });
    await alice.ask("session.create", { sessionId: "a" });
    await alice.ask("user.settings.set", { settings: { askUser: false } });
    await alice.ask("session.create", { sessionId: "b" });
    expect(await setting(alice)).toBe(null);
    await sayIn(alice, "a", "[[echo one]]");
    await killRuntimes(squadron);
    await alice.ask("session.resume", { sessionId: "a" });
    await killRuntimes(squadron);
    expect(await setting(alice)).toBe(false);
    expect((await hostOf(squadron, "a")).life).toBe("live");
  });

  it("is refused without allow: all", async () => {
    const squadron = await open({ allow: {}, policy: {} });
    const alice = await connect(squadron);
    for (const method of ["user.settings.get", "mcp.config.list", "sessions.getSizes", "session.shell.exec"])
      expect(await alice.call(method, {})).toMatchObject({ code: "method_denied" });
  });

  it("reaches the runtime, whichever it is", async () => {
    const squadron = await open();
    const alice = await connect(squadron);
    for (const method of [
      "tools.list",
      "commands.list",
      "models.getBuiltInCatalog",
      "mcp.config.list",
      "mcp.discover",
      "skills.discover",
      "agents.discover",
      "instructions.discover",
      "hooks.discover",
      "extensions.discover",
      "plugins.list",
      "plugins.marketplaces.list",
      "user.settings.reload",
      "managedSettings.read",
      "account.getCurrentAuth",
      "account.getAllUsers",
      "sessions.getRemoteControlStatus",
    ])
      expect([method, (await alice.call(method, {})).kind]).toEqual([method, "result"]);
    // The other sessions that a call names must be the caller's own.
    const bob = await connect(squadron, "bob");
    await bob.ask("session.create", { sessionId: "bobs" });
    expect(
      await alice.call("sessions.transferRemoteControl", { toSessionId: "bobs", expectedFromSessionId: "x" }),
    ).toMatchObject({ code: "session_not_found" });
  });
});

describe("session.shell.exec", () => {
  it("tells its own client, after the answer, and nobody else", async () => {
    const squadron = await open();
    const [alice, other, bob] = [
      await connect(squadron),
      await connect(squadron),
      await connect(squadron, "bob"),
    ];
    await alice.ask("session.create", { sessionId: "s" });
    await other.ask("session.resume", { sessionId: "s" });
    await bob.ask("session.create", { sessionId: "s" });
    expect(await run(alice, "s", "echo mine")).toBe("mine\n");
    const order = alice.messages.flatMap(({ body }) => {
      if (isObject(body.result) && "processId" in body.result) return ["answer"];
      return String(body.method).startsWith("shell.") ? [String(body.method)] : [];
    });
    expect(order).toEqual(["answer", "shell.output", "shell.exit"]);
    for (const client of [other, bob]) expect(client.received().includes("shell.")).toBe(false);
    // Many at once keep apart.
    const all = await Promise.all(
      Array.from({ length: 20 }, (_, at) => run(at % 2 === 0 ? alice : bob, "s", `echo ${at}`)),
    );
    expect(all).toEqual(Array.from({ length: 20 }, (_, at) => `${at}\n`));
  });

  it("keeps the session awake while the process runs, and no longer", async () => {
    const squadron = await open(sleepsAfter(100));
    const alice = await connect(squadron);
    await alice.ask("session.create", { sessionId: "s" });
    await sayIn(alice, "s", "[[echo one]]");
    const { processId } = await alice.ask("session.shell.exec", {
      sessionId: "s",
      command: "sleep 100",
      timeout: 0,
    });
    const host = await hostOf(squadron, "s");
    await host.call("session.mode.get", {});
    expect(host.evictable).toBe(false);
    await alice.ask("session.shell.kill", { sessionId: "s", processId, signal: "SIGKILL" });
    await eventually(() => told(alice, "shell.exit").length === 1, { what: "the exit" });
    await eventually(() => host.life === "hibernated", { what: "the session sleeps" });
    // One that its runtime's death has ended keeps nothing awake.
    await alice.ask("session.shell.exec", { sessionId: "s", command: "sleep 100", timeout: 0 });
    await killRuntimes(squadron);
    await alice.ask("session.mode.get", { sessionId: "s" });
    await eventually(() => host.life === "hibernated", { what: "the session sleeps again" });
  });

  it("has ended only when what it wrote is stored", async () => {
    const squadron = await open();
    const alice = await connect(squadron);
    await alice.ask("session.create", { sessionId: "s" });
    await run(alice, "s", "echo kept > file; mkdir -p deep/er; echo too > deep/er/file");
    await killRuntimes(squadron);
    expect(await run(alice, "s", "cat file deep/er/file")).toBe("kept\ntoo\n");
  });

  it("finds its working directory again as it was: empty directories, links, permissions", async () => {
    const squadron = await open();
    const alice = await connect(squadron);
    await alice.ask("session.create", { sessionId: "s" });
    await run(
      alice,
      "s",
      `mkdir -p empty/within shut; chmod 750 shut
       printf '#!/bin/sh\\necho ran\\n' > tool; chmod 755 tool
       ln -s ../tool shut/link; ln -s /nowhere dangling; ln -s empty dir-link; ln -s / root`,
    );
    const look = "find . -mindepth 1 -printf '%y %m %p %l\\n' | sort; shut/link";
    const before = await run(alice, "s", look);
    for (const line of ["d 750 ./shut ", "f 755 ./tool ", "l 777 ./dangling /nowhere", "ran"])
      expect(before.split("\n")).toContain(line);
    expect(before).toMatch(/^d \d+ \.\/empty\/within $/m);
    await killRuntimes(squadron);
    expect(await run(alice, "s", look)).toBe(before);
    // And what was removed stays so.
    await run(alice, "s", "rm -r empty root; mkdir root");
    await killRuntimes(squadron);
    expect(await run(alice, "s", "ls -F")).toBe("dangling@\ndir-link@\nroot/\nshut/\ntool*\n");
  });
});

describe("a working directory with more files than limits.maxFiles", () => {
  it("ends the turn, which says what to raise, and goes on from what is stored", async () => {
    const squadron = await open({ limits: { maxFiles: 200 } });
    const session = await squadron.client("alice").createSession({
      sessionId: "s",
      onPermissionRequest: async () => ({ kind: "approve-once" }),
    });
    const bash = (command: string): string =>
      `[[call bash ${JSON.stringify({ command, description: "does it" })}]]`;
    await session.sendAndWait(bash("echo kept > kept"));
    await expect(
      session.sendAndWait(bash("mkdir many; cd many; for i in $(seq 300); do ln -s x $i; done")),
    ).rejects.toThrow(/more than 200 files.*limits\.maxFiles/);
    await killRuntimes(squadron);
    const left = (await session.sendAndWait(bash("ls")))?.data.content;
    expect(left).toContain("kept");
    expect(left).not.toContain("many");
  });
});

describe("work that no message in the node's queue has begun", () => {
  const begin = {
    "session.sendMessages": { messages: [{ prompt: "[[hold go]] [[echo done]]" }] },
    "session.sendSystemNotification": { message: "[[hold go]] [[echo done]]", kind: { type: "other" } },
  } as const;

  it("of session.sendMessages keeps the session awake until its idle", async () => {
    const squadron = await open({ ...sleepsAfter(50), runtimes: { maxSessions: 1 } });
    const alice = await connect(squadron);
    await alice.ask("session.create", { sessionId: "s" });
    await alice.ask("session.sendMessages", { sessionId: "s", ...begin["session.sendMessages"] });
    await eventually(() => squadron.model.holding("go") > 0, { what: "the turn runs" });
    const host = await hostOf(squadron, "s");
    expect([host.busy, host.evictable]).toEqual([true, false]);
    squadron.model.release("go");
    await eventually(() => alice.events("session.idle").length === 1, { what: "the idle" });
    expect(lastAnswer(alice)).toContain("done");
    await eventually(() => host.life === "hibernated", { what: "the session sleeps" });
    await killRuntimes(squadron);
    expect(await sayIn(alice, "s", "[[count]]")).toBe("2");
  });

  it("ends with an error and an idle when its runtime dies", async () => {
    const squadron = await open();
    const alice = await connect(squadron);
    await alice.ask("session.create", { sessionId: "s" });
    await alice.ask("session.sendMessages", { sessionId: "s", ...begin["session.sendMessages"] });
    await eventually(() => squadron.model.holding("go") > 0, { what: "the turn runs" });
    await killRuntimes(squadron);
    await eventually(() => alice.events("session.idle").length === 1, { what: "the idle" });
    expect(alice.events("session.error")).toHaveLength(1);
    expect((await hostOf(squadron, "s")).busy).toBe(false);
  });

  it("of a plan keeps the session awake until nothing is planned", async () => {
    const squadron = await open(sleepsAfter(50));
    const alice = await connect(squadron);
    await alice.ask("session.create", { sessionId: "s" });
    await sayIn(alice, "s", "[[echo one]]");
    await alice.ask("session.schedule.addAt", {
      sessionId: "s",
      at: Date.now() + 1_000,
      prompt: "[[echo planned]]",
    });
    const host = await hostOf(squadron, "s");
    await eventually(() => !host.evictable && !host.busy, { what: "the plan counts" });
    await eventually(() => alice.events("session.idle").length === 2, { what: "the planned turn" });
    expect(lastAnswer(alice)).toContain("planned");
    await eventually(() => host.life === "hibernated", { what: "the session sleeps" });
  });
});

describe("a session that was made in a shared runtime", () => {
  it("stays without what allow: all opens, whatever the policy says later", async () => {
    const first = await startTestNode({ isolation: "shared" });
    const early = await connectRaw(first.node.sdk.port, users.alice.key);
    await early.ask("session.create", { sessionId: "old" });
    await sayIn(early, "old", "[[echo one]]");
    await early.close();
    await first.node.close();
    stack.defer(() => first.stop());
    const squadron = await open({ directory: first.directory, model: first.model });
    const alice = await connect(squadron);
    expect(
      await alice.call("session.resume", { sessionId: "old", pluginDirectories: ["/etc"] }),
    ).toMatchObject({ code: "parameter_denied" });
    await alice.ask("session.resume", { sessionId: "old" });
    expect(await alice.call("session.shell.exec", { sessionId: "old", command: "echo out" })).toMatchObject({
      code: "method_denied",
    });
    expect(
      await alice.call("session.send", {
        sessionId: "old",
        prompt: "x",
        attachments: [{ type: "file", path: "/etc/passwd", displayName: "x" }],
      }),
    ).toMatchObject({ code: "parameter_denied" });
    expect(await sayIn(alice, "old", "[[tools]]")).not.toContain("bash");
    // A new one is the user's own.
    await alice.ask("session.create", { sessionId: "new" });
    expect(await run(alice, "new", "echo in")).toBe("in\n");
  });
});

describe("calls about many sessions", () => {
  it("know the caller's own, and delete no other", async () => {
    const squadron = await open();
    const [alice, bob] = [await connect(squadron), await connect(squadron, "bob")];
    for (const name of ["a", "b", "named", "kept", "open"]) {
      await alice.ask("session.create", { sessionId: name });
      await sayIn(alice, name, `[[echo ${name}]]`);
    }
    await alice.ask("session.name.set", { sessionId: "named", name: "Mine" });
    for (const name of ["a", "b", "named", "kept"]) await alice.ask("session.detach", { sessionId: name });
    await bob.ask("session.create", { sessionId: "bobs" });

    const { sizes } = await alice.ask("sessions.getSizes");
    expect(Object.keys(isObject(sizes) ? sizes : {}).sort()).toEqual(["a", "b", "kept", "named", "open"]);
    expect(Object.values(isObject(sizes) ? sizes : {}).every((size) => Number(size) > 0)).toBe(true);
    expect(await bob.ask("sessions.getSizes")).toEqual({ sizes: { bobs: 0 } });
    expect(await alice.ask("sessions.findByTaskId", { taskId: "t" })).toEqual({});
    expect(["a", "b", "named", "kept", "open"]).toContain(
      (await alice.ask("sessions.getLastForContext", {})).sessionId,
    );
    const given = { startTime: "t", modifiedTime: "t", isRemote: false };
    const { sessions } = await alice.ask("sessions.enrichMetadata", {
      sessions: [
        { sessionId: "a", ...given },
        { sessionId: "bobs", ...given },
      ],
    });
    expect(sessions).toMatchObject([
      {
        sessionId: "a",
        startTime: "t",
        summary: expect.stringContaining("a"),
        context: { cwd: expect.any(String) },
      },
      { sessionId: "bobs", ...given },
    ]);

    const prune = { olderThanDays: 0, excludeSessionIds: ["kept"] };
    const dry = await alice.ask("sessions.pruneOld", { ...prune, dryRun: true });
    expect(dry).toMatchObject({ deleted: [], dryRun: true });
    expect([...(dry.candidates as string[])].sort()).toEqual(["a", "b"]);
    expect([...(dry.skipped as string[])].sort()).toEqual(["named", "open"]);
    expect(await alice.ask("sessions.pruneOld", { ...prune, olderThanDays: 1 })).toMatchObject({
      deleted: [],
    });
    const pruned = await alice.ask("sessions.pruneOld", prune);
    expect([...(pruned.deleted as string[])].sort()).toEqual(["a", "b"]);
    expect(pruned.freedBytes).toBe(dry.freedBytes);
    const left = (await alice.ask("session.list")).sessions as { sessionId: string }[];
    expect(left.map(({ sessionId }) => sessionId).sort()).toEqual(["kept", "named", "open"]);
    expect(await bob.ask("sessions.getSizes")).toEqual({ sizes: { bobs: 0 } });
  });
});

describe("telemetry", () => {
  it("goes to the client that asked when it connected, about its sessions, under its names", async () => {
    const squadron = await open();
    const wants = stack.use(await openRawClient(squadron.node.sdk.port));
    const early = await connect(squadron);
    await early.ask("session.create", { sessionId: "s" });
    await wants.ask("connect", { token: users.alice.key, enableGitHubTelemetryForwarding: true });
    // The session is live already: it is turned on later.
    await wants.ask("session.resume", { sessionId: "s" });
    await sayIn(wants, "s", "[[echo one]]");
    const events = await eventually(
      () => {
        const heard = told(wants, "gitHubTelemetry.event");
        return heard.length > 0 && heard;
      },
      { what: "telemetry" },
    );
    expect(new Set(events.map(({ sessionId }) => sessionId))).toEqual(new Set(["s"]));
    // It stays on in the next runtime.
    await killRuntimes(squadron);
    const before = told(wants, "gitHubTelemetry.event").length;
    await sayIn(wants, "s", "[[echo two]]");
    await eventually(() => told(wants, "gitHubTelemetry.event").length > before, { what: "more" });
    expect(told(early, "gitHubTelemetry.event")).toEqual([]);
    const { id } = await rowOf(squadron.node, "s");
    expect(JSON.stringify(told(wants, "gitHubTelemetry.event")).includes(id)).toBe(false);
  });

  it("reaches a program that uses the SDK", async () => {
    const squadron = await open();
    const heard: unknown[] = [];
    const client = squadron.client("alice", { onGitHubTelemetry: (told) => void heard.push(told.sessionId) });
    const session = await client.createSession({ sessionId: "s" });
    await session.sendAndWait("[[echo one]]");
    await eventually(() => heard.length > 0, { what: "telemetry" });
    expect(new Set(heard)).toEqual(new Set(["s"]));
  });

  it("is not to be had without allow: all", async () => {
    const squadron = await open({ allow: {}, policy: {} });
    const alice = stack.use(await openRawClient(squadron.node.sdk.port));
    await alice.ask("connect", { token: users.alice.key, enableGitHubTelemetryForwarding: true });
    await alice.ask("session.create", { sessionId: "s" });
    await sayIn(alice, "s", "[[echo one]]");
    await sayIn(alice, "s", "[[echo two]]");
    expect(told(alice, "gitHubTelemetry.event")).toEqual([]);
  });
});

describe("the launch of extensions", () => {
  it("is asked of the user's client that registered last, and of no other user's", async () => {
    const squadron = await open({
      runtimes: { env: { COPILOT_CLI_ENABLED_FEATURE_FLAGS: new Secret("EXTENSIONS") } },
    });
    const [alice, later, bob] = [
      await connect(squadron),
      await connect(squadron),
      await connect(squadron, "bob"),
    ];
    const asked: [string, Record<string, unknown>][] = [];
    for (const [name, client] of Object.entries({ alice, later, bob }))
      client.answerWith((method, params) => {
        if (method === "extensionLaunchProvider.resolve") asked.push([name, params]);
        return {};
      });
    await alice.ask("session.create", { sessionId: "setup" });
    await run(
      alice,
      "setup",
      "git init -q; mkdir -p .github/extensions/demo; echo 1 > .github/extensions/demo/extension.mjs",
    );
    for (const client of [alice, later, bob]) await client.call("registerExtensionLaunchProvider");
    await alice.ask("session.create", {
      sessionId: "s",
      requestExtensions: true,
      enableConfigDiscovery: true,
      extensionSdkPath: sdkPath,
    });
    await eventually(() => asked.length > 0, { what: "a question" });
    expect(asked).toMatchObject([["later", { id: "project:demo", source: "project" }]]);
  });
});
