import { rm } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { startTestNode, type TestNode } from "../support/test-node.ts";
import { eventually } from "../support/wait.ts";

const approve = async () => ({ kind: "approve-once" }) as const;
const quick = { enabled: true, backgroundCompactionThreshold: 0.8 };

const rowsOf = async ({ node }: TestNode, name: string, user = "alice") => {
  const session = await node.store.sessions.byName("acme", user, name);
  if (session === undefined) throw new Error(`There is no session ${name}.`);
  return node.store.turns.list(session.id, { limit: 100 });
};

const killRuntimes = async ({ node }: TestNode): Promise<void> => {
  for (const { pid } of node.fleet.list()) if (pid !== undefined) process.kill(pid, "SIGKILL");
  await eventually(() => node.fleet.list().length === 0, { what: "the runtimes are gone" });
};

describe("a session whose runtime is gone", () => {
  it("goes on in another one: the client on its old connection notices nothing", async () => {
    await using squadron = await startTestNode();
    const client = squadron.client("alice");
    const called: string[] = [];
    const session = await client.createSession({
      sessionId: "s",
      onPermissionRequest: approve,
      tools: [
        {
          name: "note",
          description: "notes",
          parameters: { type: "object", properties: { text: { type: "string" } } },
          handler: async ({ text }: { text: string }) => {
            called.push(text);
            return "noted";
          },
        },
      ],
    });
    const seen: string[] = [];
    session.on((event) => seen.push(event.type));
    await session.sendAndWait("[[secret blue]] [[echo one]]");
    await killRuntimes(squadron);
    seen.length = 0;
    expect((await session.sendAndWait("[[count]]"))?.data.content).toBe("2");
    expect(seen).not.toContain("session.resume");
    expect(seen).not.toContain("session.start");
    await session.sendAndWait('[[call note {"text":"after"}]]');
    expect(called).toEqual(["after"]);
    const types = (await session.getEvents()).map(({ type }) => type);
    expect(types.filter((type) => type === "session.start" || type === "session.resume")).toEqual([
      "session.start",
    ]);
    expect((await rowsOf(squadron, "s")).map(({ state }) => state)).toEqual([
      "completed",
      "completed",
      "completed",
    ]);
  });

  it("ends the turn that had begun as interrupted, and its history and row agree", async () => {
    await using squadron = await startTestNode();
    const client = squadron.client("alice");
    const session = await client.createSession({ sessionId: "s", onPermissionRequest: approve });
    await session.sendAndWait("[[echo one]]");
    const running = session.sendAndWait("[[hold never]] [[echo two]]");
    const failed = expect(running).rejects.toThrow(/interrupted/);
    await eventually(async () => (await rowsOf(squadron, "s"))[0]?.state === "begun", { what: "it runs" });
    await eventually(() => squadron.model.holding("never") > 0, { what: "the model is asked" });
    await killRuntimes(squadron);
    await failed;
    expect((await session.sendAndWait("[[count]]"))?.data.content).toBe("2");
    expect((await rowsOf(squadron, "s")).map(({ state }) => state)).toEqual([
      "completed",
      "interrupted",
      "completed",
    ]);
    const said = (await session.getEvents())
      .filter(({ type }) => type === "user.message")
      .map((event) => (event.data as { content: string }).content);
    expect(said).toEqual(["[[echo one]]", "[[count]]"]);
  });

  it("is there after the node was started anew, even with every working copy deleted", async () => {
    await using first = await startTestNode();
    const session = await first
      .client("alice")
      .createSession({ sessionId: "s", onPermissionRequest: approve });
    await session.sendAndWait("[[echo one]]");
    await first.node.close();
    await rm(join(first.directory, "state", "boxes"), { recursive: true, force: true });
    await using second = await startTestNode({ directory: first.directory, model: first.model });
    const again = await second.client("alice").resumeSession("s", { onPermissionRequest: approve });
    expect((await again.sendAndWait("[[count]]"))?.data.content).toBe("2");
  });
});

describe("a session that sleeps", () => {
  it("past the idle timeout wakes for its attached client, which simply goes on", async () => {
    await using squadron = await startTestNode({
      policy: { sessions: { ttlMs: 1e9, hibernateAfterMs: 30, infinite: quick } },
    });
    const session = await squadron
      .client("alice")
      .createSession({ sessionId: "s", onPermissionRequest: approve });
    const errors: unknown[] = [];
    session.on("session.error", (event) => errors.push(event));
    for (let turn = 1; turn <= 3; turn++) {
      expect((await session.sendAndWait("[[count]]"))?.data.content).toBe(String(turn));
      await eventually(() => squadron.node.fleet.list().length === 0, { what: "nothing is left in memory" });
    }
    expect(errors).toEqual([]);
  });

  it("keeps a model that was switched later", async () => {
    await using squadron = await startTestNode();
    const session = await squadron
      .client("alice")
      .createSession({ sessionId: "s", model: "scripted-1", onPermissionRequest: approve });
    await session.sendAndWait("[[echo one]]");
    await session.setModel("scripted-2");
    await killRuntimes(squadron);
    expect((await session.sendAndWait("[[model]]"))?.data.content).toBe("scripted-2");
  });
});

describe("the limit of live sessions", () => {
  it("sends the least recently used one to sleep, never one that works", async () => {
    await using squadron = await startTestNode({ runtimes: { maxSessions: 2 } });
    const client = squadron.client("alice");
    const open = (sessionId: string) => client.createSession({ sessionId, onPermissionRequest: approve });
    const life = () =>
      Object.fromEntries(squadron.node.gateway.hosts.map(({ name, life }) => [name, life] as const));
    const a = await open("a");
    const b = await open("b");
    await a.sendAndWait("[[echo one]]");
    await b.sendAndWait("[[echo one]]");
    const running = a.sendAndWait("[[hold go]] [[count]]");
    await eventually(() => squadron.model.holding("go") > 0, { what: "a works" });
    const c = await open("c");
    expect(life()).toEqual({ a: "live", b: "hibernated", c: "live" });
    expect((await c.sendAndWait("[[count]]"))?.data.content).toBe("1");
    expect((await b.sendAndWait("[[count]]"))?.data.content).toBe("2");
    expect(life()).toEqual({ a: "live", b: "live", c: "hibernated" });
    squadron.model.release("go");
    expect((await running)?.data.content).toBe("2");
  });

  it("gives a runtime's place to another user when its sessions are idle", async () => {
    await using squadron = await startTestNode({ runtimes: { max: 1 } });
    for (const round of [1, 2]) {
      for (const user of ["alice", "bob", "carol"] as const) {
        const client = squadron.client(user);
        const session =
          round === 1
            ? await client.createSession({ sessionId: "s", onPermissionRequest: approve })
            : await client.resumeSession("s", { onPermissionRequest: approve });
        expect((await session.sendAndWait("[[count]]"))?.data.content).toBe(String(round));
      }
    }
    expect(squadron.node.fleet.list()).toHaveLength(1);
  });
});

describe("a worn out runtime", () => {
  const recycle = { turns: 3, memoryBytes: Number.MAX_SAFE_INTEGER, ageMs: Number.MAX_SAFE_INTEGER };

  it("that users share ends its running turn, while new work goes to a fresh one", async () => {
    await using squadron = await startTestNode({
      isolation: "shared",
      runtimes: { probeEveryMs: 50, recycle },
    });
    const alice = await squadron
      .client("alice")
      .createSession({ sessionId: "s", onPermissionRequest: approve });
    const bob = await squadron.client("bob").createSession({ sessionId: "s", onPermissionRequest: approve });
    const running = alice.sendAndWait("[[hold go]] [[count]]");
    await eventually(() => squadron.model.holding("go") > 0, { what: "alice's turn runs" });
    const [old] = squadron.node.fleet.list();
    for (let turn = 1; turn <= 3; turn++)
      expect((await bob.sendAndWait("[[count]]"))?.data.content).toBe(String(turn));
    await eventually(() => squadron.node.fleet.list().some(({ state }) => state === "retiring"), {
      what: "the old one is retiring",
    });
    for (let turn = 4; squadron.node.fleet.list().length < 2; turn++) {
      expect((await bob.sendAndWait("[[count]]"))?.data.content).toBe(String(turn));
      expect(turn).toBeLessThan(100);
    }
    squadron.model.release("go");
    expect((await running)?.data.content).toBe("1");
    await eventually(() => squadron.node.fleet.list().every(({ id }) => id !== old?.id), {
      what: "the old one is gone",
    });
    expect((await alice.sendAndWait("[[count]]"))?.data.content).toBe("2");
  });

  it("of one user is replaced between two turns", async () => {
    await using squadron = await startTestNode({
      isolation: "user",
      runtimes: { probeEveryMs: 50, recycle },
    });
    const session = await squadron
      .client("alice")
      .createSession({ sessionId: "s", onPermissionRequest: approve });
    const seen = new Set<string>();
    for (let turn = 1; seen.size < 3; turn++) {
      expect((await session.sendAndWait("[[count]]"))?.data.content).toBe(String(turn));
      for (const { id } of squadron.node.fleet.list()) seen.add(id);
      expect(turn).toBeLessThan(200);
    }
  });
});

describe("what cannot be stored", () => {
  it("ends the turn with the reason, and the session goes on from what is stored", async () => {
    await using squadron = await startTestNode({ limits: { maxSizeBytes: 120_000 } });
    const session = await squadron
      .client("alice")
      .createSession({ sessionId: "s", onPermissionRequest: approve });
    await session.sendAndWait("[[echo one]]");
    await expect(session.sendAndWait(`[[count]] ${"x".repeat(200_000)}`)).rejects.toThrow(
      /counts as not done\. There are more than 120000 bytes/,
    );
    expect((await session.sendAndWait("[[count]]"))?.data.content).toBe("2");
    expect((await rowsOf(squadron, "s")).map(({ state }) => state)).toEqual([
      "completed",
      "interrupted",
      "completed",
    ]);
  });
});
