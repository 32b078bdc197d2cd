import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, it, vi } from "vitest";
import { allowEverything, type Policy } from "../../../src/config/config.ts";
import type { ClientLink, Connection } from "../../../src/gateway/vocabulary.ts";
import { SquadronError } from "../../../src/kernel/errors.ts";
import { settle, startFakeNode } from "./fake-node.ts";

type Node = Awaited<ReturnType<typeof startFakeNode>>;

const idOf = (node: Node, at = 0): string => node.gateway.hosts[at]?.row.id ?? "";

/** A link that notes the types of the events that it is told. */
const listening = (): { readonly seen: string[]; readonly link: Partial<ClientLink> } => {
  const seen: string[] = [];
  return {
    seen,
    link: {
      notify: (_method, params) => void seen.push((params as { event: { type: string } }).event.type),
      sendRaw: (body) => void seen.push(JSON.parse(body.toString()).params.event.type),
    },
  };
};

const small = {
  limits: {
    turnTimeoutMs: 60_000,
    queueLength: 10,
    callbackTimeoutMs: 1_000,
    maxSizeBytes: 1_000,
    maxFiles: 1_000,
  },
};

/** Puts a file among those of the session in its runtime; returns the directory. */
const writeInto = async (node: Node, name: string, bytes: number): Promise<string> => {
  const { runtime, row } = node.gateway.hosts[0] ?? {};
  const directory = runtime?.sessionDirectory(row?.id ?? "") ?? "";
  await mkdir(directory, { recursive: true });
  await writeFile(join(directory, name), "x".repeat(bytes));
  return directory;
};

const rows = async (node: Node, id: string) =>
  (await node.store.turns.list(id, { limit: 10 })).map(({ state }) => state).reverse();

/** The runtime answers a message, and says that it has. */
const answered = async (node: Node, id: string, nth: number): Promise<void> => {
  await node.call("session.send", nth);
  await settle();
  node.event(id, "session.idle", { mode: "interactive" });
  await settle();
};

const count = (node: Node, method: string): number =>
  node.calls.filter((call) => call.method === method).length;

describe("a session that is woken", () => {
  it("loses no event when two calls wake it at once", async () => {
    await using node = await startFakeNode();
    const { seen, link } = listening();
    const one = node.connect(link);
    await one.request("session.create", { sessionId: "s" });
    node.crash();
    node.hold("session.create");
    const sent = one.request("session.send", { sessionId: "s", prompt: "p" });
    const creation = await node.call("session.create", 1);
    const read = one.request("session.getMessages", { sessionId: "s" });
    node.hold("session.mode.get");
    creation.answer({});
    (await node.call("session.mode.get")).answer({});
    await sent;
    await settle();
    node.event(idOf(node), "user.message", { messageId: "runtime-message-1" });
    expect(seen).toContain("user.message");
    await read;
  });

  it("gets a message in another runtime when the first one dies over waking it", async () => {
    await using node = await startFakeNode();
    const one = node.connect();
    await one.request("session.create", { sessionId: "s" });
    node.crash();
    node.hold("session.create");
    const sent = one.request("session.send", { sessionId: "s", prompt: "p" });
    await node.call("session.create", 1);
    node.crash();
    (await node.call("session.create", 2)).answer({});
    expect(await sent).toMatchObject({ messageId: "runtime-message-1" });
    expect(count(node, "session.send")).toBe(1);
  });

  it("is not woken again in a runtime that is dying", async () => {
    await using node = await startFakeNode();
    const one = node.connect();
    await one.request("session.create", { sessionId: "s" });
    node.crash();
    node.hold("session.create");
    const sent = one.request("session.send", { sessionId: "s", prompt: "p" });
    await node.call("session.create", 1);
    node.breakPipes();
    await settle();
    expect(count(node, "session.create")).toBe(2);
    node.crash();
    (await node.call("session.create", 2)).answer({});
    expect(await sent).toMatchObject({ messageId: "runtime-message-1" });
  });

  it("tells that the message was not taken when every runtime dies over waking it", async () => {
    await using node = await startFakeNode();
    const one = node.connect();
    await one.request("session.create", { sessionId: "s" });
    const id = idOf(node);
    node.crash();
    node.hold("session.create");
    const sent = one.request("session.send", { sessionId: "s", prompt: "p" });
    const refused = expect(sent).rejects.toMatchObject({ code: "runtime_gone" });
    for (let nth = 1; nth <= 3; nth++) {
      await node.call("session.create", nth);
      node.crash();
    }
    await refused;
    await settle();
    expect((await node.store.turns.list(id, { limit: 10 })).map(({ state }) => state)).toEqual(["refused"]);
  });

  it("is not given a message whose turn has ended meanwhile", async () => {
    await using node = await startFakeNode({
      limits: {
        turnTimeoutMs: 1_000,
        queueLength: 10,
        callbackTimeoutMs: 1_000,
        maxSizeBytes: 1_000_000,
        maxFiles: 1_000,
      },
    });
    const one = node.connect();
    await one.request("session.create", { sessionId: "s" });
    node.crash();
    node.hold("session.create");
    const sent = one.request("session.send", { sessionId: "s", prompt: "p" });
    const late = expect(sent).rejects.toMatchObject({ code: "turn_timeout" });
    const creation = await node.call("session.create", 1);
    node.clock.advance(1_000);
    await settle();
    node.clock.advance(10_000);
    await late;
    creation.answer({});
    await settle();
    expect(count(node, "session.send")).toBe(0);
  });
});

describe("a session that falls asleep", () => {
  it("does so although its files cannot be stored, and goes on from what is stored", async () => {
    await using node = await startFakeNode(small);
    const one = node.connect();
    await one.request("session.create", { sessionId: "s" });
    await writeInto(node, "big", 2_000);
    node.clock.advance(300_000);
    await settle();
    expect(node.gateway.hosts.map(({ life }) => life)).toEqual(["hibernated"]);
  });

  it("stays while the store cannot be used, and tries again later", async () => {
    await using node = await startFakeNode();
    const one = node.connect();
    await one.request("session.create", { sessionId: "s" });
    await writeInto(node, "file", 1);
    const commit = vi.spyOn(node.store.state, "commit");
    commit.mockRejectedValueOnce(new SquadronError("store_unavailable", "locked"));
    node.clock.advance(300_000);
    await settle();
    expect(node.gateway.hosts.map(({ life }) => life)).toEqual(["live"]);
    node.clock.advance(300_000);
    await settle();
    expect(node.gateway.hosts.map(({ life }) => life)).toEqual(["hibernated"]);
  });

  it("and wakes in the same runtime is not said to have ended", async () => {
    await using node = await startFakeNode();
    const { seen, link } = listening();
    const one = node.connect(link);
    await one.request("session.create", { sessionId: "s" });
    node.clock.advance(300_000);
    await node.call("sessions.close");
    await settle();
    await one.request("session.mode.get", { sessionId: "s" });
    node.event(idOf(node), "session.shutdown", { reason: "x" });
    expect(seen).not.toContain("session.shutdown");
  });
});

describe("what a session has changed", () => {
  it("is not acknowledged when its runtime has ended before it was stored", async () => {
    await using node = await startFakeNode();
    const one = node.connect();
    await one.request("session.create", { sessionId: "s" });
    node.hold("session.name.set");
    const changed = one.request("session.name.set", { sessionId: "s", name: "n" });
    const refused = expect(changed).rejects.toMatchObject({ code: "runtime_gone" });
    (await node.call("session.name.set")).answer({});
    node.crash();
    await refused;
  });

  it("is stored together with what the session is resumed with", async () => {
    await using node = await startFakeNode();
    const one = node.connect();
    await one.request("session.create", { sessionId: "s" });
    const id = idOf(node);
    await one.request("session.send", { sessionId: "s", prompt: "p" });
    const update = vi.spyOn(node.store.sessions, "update");
    const commit = vi.spyOn(node.store.state, "commit");
    node.event(id, "session.model_change", { newModel: "other" });
    await answered(node, id, 0);
    expect(await rows(node, id)).toEqual(["completed"]);
    expect((await node.store.sessions.byId(id))?.record).toContain("other");
    expect(update).not.toHaveBeenCalled();
    expect(commit).toHaveBeenCalledOnce();
  });

  it("is forgotten when it cannot be stored, and what its runtime says of it then ends no later turn", async () => {
    await using node = await startFakeNode(small);
    const one = node.connect();
    await one.request("session.create", { sessionId: "s" });
    const id = idOf(node);
    await one.request("session.send", { sessionId: "s", prompt: "one" });
    await one.request("session.send", { sessionId: "s", prompt: "two" });
    await writeInto(node, "big", 2_000);
    node.hold("sessions.close");
    await answered(node, id, 0);
    const close = await node.call("sessions.close");
    node.event(id, "session.idle", { mode: "interactive", aborted: true });
    await settle();
    close.answer({});
    await answered(node, id, 1);
    expect(await rows(node, id)).toEqual(["interrupted", "completed"]);
    expect(count(node, "sessions.close")).toBe(1);
  });
});

describe("a change of what a session is resumed with", () => {
  const setModel = (connection: Connection) =>
    connection.request("session.options.update", { sessionId: "s", model: "other" });

  /** The model with which the session wakes next. */
  const modelAtNextWake = async (node: Node): Promise<unknown> => {
    const nth = count(node, "session.create");
    const reader = node.connect();
    await reader.watch("s");
    await reader.request("session.getMessages", { sessionId: "s" });
    const created = (await node.call("session.create", nth)).params.model;
    const updates = node.calls.filter(({ method }) => method === "session.options.update");
    return updates.at(-1)?.params.model ?? created;
  };

  it("has not happened when its runtime dies before it is stored", async () => {
    await using node = await startFakeNode();
    const one = node.connect();
    await one.request("session.create", { sessionId: "s" });
    node.hold("sessions.save");
    const changed = setModel(one);
    const refused = expect(changed).rejects.toMatchObject({ code: "runtime_gone" });
    await node.call("sessions.save");
    node.event(idOf(node), "session.model_change", { newModel: "other" });
    node.crash();
    await refused;
    expect(await modelAtNextWake(node)).toBe("scripted-1");
  });

  it("has not happened when it cannot be stored", async () => {
    await using node = await startFakeNode();
    const one = node.connect();
    await one.request("session.create", { sessionId: "s" });
    vi.spyOn(node.store.state, "commit").mockRejectedValueOnce(
      new SquadronError("store_unavailable", "locked"),
    );
    await expect(setModel(one)).rejects.toMatchObject({ code: "store_unavailable" });
    await node.call("sessions.close");
    expect(await modelAtNextWake(node)).toBe("scripted-1");
  });

  it("has not happened when the session is thrown out of its runtime before the answer", async () => {
    await using node = await startFakeNode();
    const one = node.connect();
    await one.request("session.create", { sessionId: "s" });
    node.hold("session.options.update");
    const refused = expect(setModel(one)).rejects.toMatchObject({ code: "runtime_gone" });
    const update = await node.call("session.options.update", 1);
    vi.spyOn(node.store.state, "commit").mockRejectedValueOnce(
      new SquadronError("store_unavailable", "locked"),
    );
    await expect(one.request("session.name.set", { sessionId: "s", name: "n" })).rejects.toMatchObject({
      code: "store_unavailable",
    });
    await node.call("sessions.close");
    await settle();
    update.answer({ success: true });
    await refused;
    const woken = modelAtNextWake(node);
    (await node.call("session.options.update", 2)).answer({});
    expect(await woken).toBe("scripted-1");
  });

  it("is kept when its client has gone without waiting for the answer", async () => {
    await using node = await startFakeNode();
    const one = node.connect();
    await one.request("session.create", { sessionId: "s" });
    node.hold("session.options.update");
    const changed = setModel(one);
    const update = await node.call("session.options.update", 1);
    const closed = one.close();
    await settle();
    expect(count(node, "session.detach")).toBe(0);
    update.answer({ success: true });
    await Promise.all([changed, closed]);
    expect(count(node, "session.detach")).toBe(1);
    expect((await node.store.sessions.byName("acme", "alice", "s"))?.record).toContain("other");
  });

  it("has not happened when its client has gone and it is answered only after the session left", async () => {
    await using node = await startFakeNode();
    const one = node.connect();
    await one.request("session.create", { sessionId: "s" });
    node.hold("session.options.update");
    const refused = expect(setModel(one)).rejects.toMatchObject({ code: "runtime_gone" });
    const update = await node.call("session.options.update", 1);
    const closed = one.close();
    await settle();
    node.clock.advance(5_000);
    await closed;
    expect(count(node, "session.detach")).toBe(1);
    update.answer({ success: true });
    await refused;
    expect((await node.store.sessions.byName("acme", "alice", "s"))?.record).not.toContain("other");
  });

  it("is not asked for again when the session has just been opened with it", async () => {
    await using node = await startFakeNode();
    const one = node.connect();
    await one.request("session.create", { sessionId: "s" });
    const options = { skipCustomInstructions: true, coauthorEnabled: false, installedPlugins: [] };
    node.hold("session.options.update");
    const update = vi.spyOn(node.store.sessions, "update");
    expect(await one.request("session.options.update", { sessionId: "s", ...options })).toBeDefined();
    expect(count(node, "session.options.update")).toBe(1);
    expect(update).not.toHaveBeenCalled();
    // What was asked in between may have changed them.
    const again = one.request("session.options.update", { sessionId: "s", ...options, model: "other" });
    (await node.call("session.options.update", 1)).answer({});
    await again;
    const last = one.request("session.options.update", { sessionId: "s", ...options });
    (await node.call("session.options.update", 2)).answer({});
    await last;
  });
});

describe("an event that cannot be told", () => {
  it("costs only itself: the turn ends, and others are told", async () => {
    await using node = await startFakeNode();
    const { seen, link } = listening();
    const broken = node.connect({
      sendRaw: () => {
        throw new Error("broken");
      },
    });
    const one = node.connect(link);
    await broken.request("session.create", { sessionId: "s" });
    await one.request("session.resume", { sessionId: "s" });
    const id = idOf(node);
    await broken.request("session.send", { sessionId: "s", prompt: "p" });
    await answered(node, id, 0);
    await broken.request("session.send", { sessionId: "s", prompt: "p" });
    await answered(node, id, 1);
    expect(await rows(node, id)).toEqual(["completed", "completed"]);
    node.event(id, "session.title_changed", { title: "t" });
    expect(seen).toContain("session.title_changed");
  });
});

describe("a fork", () => {
  it("that cannot be stored is no session", async () => {
    await using node = await startFakeNode(small);
    const one = node.connect();
    await one.request("session.create", { sessionId: "s" });
    const runtime = node.gateway.hosts[0]?.runtime;
    node.hold("sessions.fork");
    const forked = one.request("sessions.fork", { sessionId: "s" });
    const refused = expect(forked).rejects.toMatchObject({ code: "too_large" });
    const fork = await node.call("sessions.fork");
    const id = "00000000-0000-4000-8000-000000000000";
    const directory = runtime?.sessionDirectory(id) ?? "";
    await mkdir(directory, { recursive: true });
    await writeFile(join(directory, "events.jsonl"), `${"x".repeat(2_000)}\n`);
    fork.answer({ sessionId: id });
    await refused;
    expect(await node.store.sessions.byId(id)).toBeUndefined();
  });
});

describe("a node that drains", () => {
  it("takes nothing new, and answers what is asked of what it has", async () => {
    await using node = await startFakeNode({ allow: { ...allowEverything } });
    const one = node.connect();
    await one.request("session.create", { sessionId: "s" });
    const drained = node.gateway.drain(60_000);
    for (const [method, params] of [
      ["session.create", { sessionId: "t" }],
      ["session.send", { sessionId: "s", prompt: "p" }],
      ["sessions.fork", { sessionId: "s" }],
      ["session.sendMessages", { sessionId: "s", messages: [{ prompt: "p" }] }],
    ] as const)
      await expect(one.request(method, params), method).rejects.toMatchObject({ code: "draining" });
    await one.request("session.getMessages", { sessionId: "s" });
    node.clock.advance(1_000);
    await drained;
  });

  it("waits for a turn that no message has begun", async () => {
    await using node = await startFakeNode();
    const one = node.connect();
    await one.request("session.create", { sessionId: "s" });
    const id = idOf(node);
    node.event(id, "assistant.turn_start", {});
    let done = false;
    const drained = node.gateway.drain(60_000).then(() => {
      done = true;
    });
    await settle();
    node.clock.advance(10_000);
    await settle();
    expect(done).toBe(false);
    node.event(id, "session.idle", { mode: "interactive" });
    await settle();
    node.clock.advance(1_000);
    await drained;
  });
});

describe("a session that nobody was in for a moment", () => {
  it("keeps the host that it has got since, whatever becomes of the earlier one", async () => {
    await using node = await startFakeNode();
    const one = node.connect();
    await one.request("session.create", { sessionId: "s" });
    const [earlier] = node.gateway.hosts;
    await one.request("session.send", { sessionId: "s", prompt: "p" });
    await answered(node, idOf(node), 0);
    await one.request("session.destroy", { sessionId: "s" });
    await vi.waitFor(() => expect(node.gateway.hosts).toEqual([]));
    const { seen, link } = listening();
    const two = node.connect(link);
    await two.request("session.resume", { sessionId: "s" });
    const [later] = node.gateway.hosts;
    expect(later).not.toBe(earlier);
    await two.request("session.send", { sessionId: "s", prompt: "p" });
    node.clock.advance(300_000);
    await earlier?.abandon();
    await settle();
    expect(node.gateway.hosts).toEqual([later]);
    node.event(idOf(node), "session.idle", { mode: "interactive" });
    await settle();
    expect(seen).toContain("session.idle");
  });
});

describe("a runtime that was started to ask GitHub for its models", () => {
  it("ends when nobody has needed it for a while", async () => {
    const withoutProvider = { provider: undefined } as unknown as Partial<Policy>;
    await using node = await startFakeNode(withoutProvider);
    const one = node.connect();
    expect(await one.request("models.list", { gitHubToken: "token" })).toEqual({ models: [] });
    expect([node.gateway.hosts.length, node.killed.length]).toEqual([0, 0]);
    node.clock.advance(300_000);
    await settle();
    expect(node.killed).toHaveLength(1);
  });
});
