import { describe, expect, it } from "vitest";
import { settle, startFakeNode } from "./fake-node.ts";

const idOf = (node: Awaited<ReturnType<typeof startFakeNode>>, at = 0): string =>
  node.gateway.hosts[at]?.row.id ?? "";

describe("a session that several clients handle at once", () => {
  it("is created anew when it is created while it is being deleted", async () => {
    await using node = await startFakeNode();
    const [one, two] = [node.connect(), node.connect()];
    await one.request("session.create", { sessionId: "s" });
    const before = idOf(node);
    node.hold("session.delete");
    const deleted = one.request("session.delete", { sessionId: "s" });
    const erase = await node.call("session.delete");
    const created = two.request("session.create", { sessionId: "s" });
    await settle();
    erase.answer({ success: true });
    expect(await deleted).toEqual({ success: true });
    expect(await created).toMatchObject({ sessionId: "s" });
    const row = await node.store.sessions.byName("acme", "alice", "s");
    expect(row?.id).toBeDefined();
    expect(row?.id).not.toBe(before);
  });

  it("is deleted once by two that delete it", async () => {
    await using node = await startFakeNode();
    const [one, two] = [node.connect(), node.connect()];
    await one.request("session.create", { sessionId: "s" });
    const answers = await Promise.all(
      [one, two].map((connection) => connection.request("session.delete", { sessionId: "s" })),
    );
    expect(answers).toContainEqual({ success: true });
    expect(answers).toContainEqual({ success: false, error: "Session file not found for s" });
    expect(node.gateway.hosts).toHaveLength(0);
  });

  it("is deleted although its runtime dies over it", async () => {
    await using node = await startFakeNode();
    const one = node.connect();
    await one.request("session.create", { sessionId: "s" });
    node.hold("session.delete");
    const deleted = one.request("session.delete", { sessionId: "s" });
    await node.call("session.delete");
    node.crash();
    expect(await deleted).toEqual({ success: true });
    expect(await node.store.sessions.byName("acme", "alice", "s")).toBeUndefined();
    expect(node.gateway.hosts).toHaveLength(0);
  });

  it("is deleted although its runtime does not answer", async () => {
    await using node = await startFakeNode();
    const one = node.connect();
    await one.request("session.create", { sessionId: "s" });
    node.hold("session.delete");
    const deleted = one.request("session.delete", { sessionId: "s" });
    await node.call("session.delete");
    node.clock.advance(60_000);
    expect(await deleted).toEqual({ success: true });
    expect(node.gateway.hosts).toHaveLength(0);
  });

  it("settles every message that runs or waits when it is deleted", async () => {
    await using node = await startFakeNode();
    const one = node.connect();
    await one.request("session.create", { sessionId: "s" });
    const turns = await Promise.all(
      ["a", "b", "c"].map(async (prompt) => (await one.send({ sessionId: "s", prompt })).turn),
    );
    await one.request("session.delete", { sessionId: "s" });
    const outcomes = await Promise.all(turns.map(({ ended }) => ended));
    expect(outcomes.map(({ kind }) => kind)).toEqual(["interrupted", "refused", "refused"]);
    await settle();
    expect(node.calls.filter(({ method }) => method === "session.send")).toHaveLength(1);
  });

  it("stays with the second creator when the first one's creation fails", async () => {
    await using node = await startFakeNode();
    const [one, two] = [node.connect(), node.connect()];
    node.hold("session.create");
    const first = one.request("session.create", { sessionId: "s" });
    const refused = await node.call("session.create");
    const second = two.request("session.create", { sessionId: "s" });
    await settle();
    refused.fail("not like this");
    (await node.call("session.create", 1)).answer({});
    await expect(first).rejects.toThrow("not like this");
    expect(await second).toMatchObject({ sessionId: "s" });
    await settle();
    expect(await node.store.sessions.byName("acme", "alice", "s")).toBeDefined();
    expect(node.gateway.hosts[0]?.attachments).toHaveLength(1);
  });

  it("keeps who watches it when another one cannot open it", async () => {
    await using node = await startFakeNode();
    const seen: string[] = [];
    const one = node.connect();
    await one.request("session.create", { sessionId: "s" });
    const watcher = node.connect({ kind: "http", sendRaw: (body) => void seen.push(body.toString()) });
    node.hold("session.resume");
    const opening = node.connect().request("session.resume", { sessionId: "s" });
    const resume = await node.call("session.resume");
    await watcher.watch("s");
    resume.fail("no");
    await expect(opening).rejects.toThrow("no");
    node.event(idOf(node), "assistant.turn_start", { turnId: "1" });
    expect(seen).toHaveLength(1);
    await watcher.close();
    expect(node.gateway.hosts[0]?.attachments).toHaveLength(1);
  });

  it("does not keep a watcher that left before it watched", async () => {
    await using node = await startFakeNode();
    const one = node.connect();
    await one.request("session.create", { sessionId: "s" });
    const watcher = node.connect({ kind: "http" });
    const watching = watcher.watch("s");
    await Promise.allSettled([watcher.close(), watching]);
    expect(node.gateway.hosts[0]?.attachments).toHaveLength(1);
    await one.close();
    await settle();
    expect(node.gateway.hosts).toHaveLength(0);
  });

  it("keeps no hold of a connection that detaches while it resumes", async () => {
    await using node = await startFakeNode();
    const one = node.connect();
    await one.request("session.create", { sessionId: "s" });
    node.hold("session.resume");
    const resumed = one.request("session.resume", { sessionId: "s" });
    const resume = await node.call("session.resume");
    const detached = one.request("session.detach", { sessionId: "s" });
    await settle();
    resume.answer({});
    await Promise.all([resumed, detached]);
    await one.close();
    await settle();
    expect(node.gateway.hosts).toHaveLength(0);
  });

  it("lets go of a session that one opened whose connection closed meanwhile", async () => {
    await using node = await startFakeNode();
    const one = node.connect();
    node.hold("session.create");
    const created = one.request("session.create", { sessionId: "s" });
    const create = await node.call("session.create");
    await one.close();
    create.answer({});
    await Promise.allSettled([created]);
    await settle();
    expect(node.gateway.hosts).toHaveLength(0);
  });
});

describe("a session whose runtime does not behave", () => {
  it("gives its own runtime up although it does not say that it has left it", async () => {
    await using node = await startFakeNode({ isolation: "session" });
    const one = node.connect();
    await one.request("session.create", { sessionId: "s" });
    const unit = node.gateway.hosts[0]?.unit.key;
    node.hold("session.detach");
    const closed = one.close();
    await node.call("session.detach");
    node.clock.advance(60_000);
    await closed;
    node.clock.advance(0);
    await settle();
    expect(node.killed).toEqual([unit]);
    expect(node.gateway.hosts).toHaveLength(0);
  });

  it("does not run a message that it called interrupted", async () => {
    await using node = await startFakeNode();
    const [one, two] = [node.connect(), node.connect()];
    await one.request("session.create", { sessionId: "s" });
    node.hold("session.detach");
    const left = one.close();
    await node.call("session.detach");
    await two.watch("s");
    const sending = two.send({ sessionId: "s", prompt: "hello" });
    await settle();
    node.crash();
    await left;
    const sent = await sending.catch((error: unknown) => error);
    await settle();
    const submitted = node.calls.filter(({ method }) => method === "session.send").length;
    expect([sent instanceof Error, submitted]).toEqual([submitted === 0, submitted]);
  });

  it("answers a message although the runtime never takes it", async () => {
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
    node.hold("session.send");
    node.hold("session.abort");
    const sending = one.send({ sessionId: "s", prompt: "hello" });
    await node.call("session.send");
    node.clock.advance(1_000);
    await settle();
    node.clock.advance(60_000);
    await expect(sending).rejects.toMatchObject({ code: "turn_timeout" });
  });

  it("does not end the next turn with the idle of one that its runtime's death has ended", async () => {
    await using node = await startFakeNode();
    const one = node.connect();
    await one.request("session.create", { sessionId: "s" });
    const first = await one.send({ sessionId: "s", prompt: "a" });
    const second = await one.send({ sessionId: "s", prompt: "b" });
    node.event(idOf(node), "model.turn_failed", {});
    node.event(idOf(node), "session.idle", {});
    node.crash();
    expect((await first.turn.ended).kind).toBe("interrupted");
    node.clock.advance(10_000);
    await node.call("session.send", 1);
    await settle();
    expect(second.turn.state.kind).toBe("running");
  });
});

describe("an interruption", () => {
  /** Alice's turn ends with its runtime while a second client of hers watches, which has not asked yet. */
  const interrupted = async () => {
    const node = await startFakeNode();
    const heard: { readonly asker: string[]; readonly watcher: string[] } = { asker: [], watcher: [] };
    const hearing = (types: string[]) => ({
      notify: (_method: string, params: unknown) => {
        const { event } = params as { event?: { type: string } };
        if (event !== undefined) types.push(event.type);
      },
    });
    const [asker, watcher] = [node.connect(hearing(heard.asker)), node.connect(hearing(heard.watcher))];
    await asker.request("session.create", { sessionId: "s" });
    await watcher.request("session.resume", { sessionId: "s" });
    const { turn } = await asker.send({ sessionId: "s", prompt: "a" });
    node.crash();
    expect((await turn.ended).kind).toBe("interrupted");
    await settle();
    return { node, heard, watcher };
  };

  it("is told at once to whoever asked, and a moment later to an SDK client that only watches", async () => {
    const { node, heard } = await interrupted();
    await using _node = node;
    expect(heard).toEqual({ asker: ["session.error"], watcher: [] });
    node.clock.advance(1_000);
    expect(heard.watcher).toEqual(["session.error", "session.idle"]);
  });

  it("is not told to one that has asked meanwhile: it would take that for the end of its own message", async () => {
    const { node, heard, watcher } = await interrupted();
    await using _node = node;
    await watcher.send({ sessionId: "s", prompt: "mine" });
    node.clock.advance(1_000);
    await settle();
    expect(heard.watcher).toEqual([]);
  });
});

describe("a runtime that is dying", () => {
  it("gets none of the messages that wait: they run after the wake", async () => {
    await using node = await startFakeNode();
    const one = node.connect();
    await one.request("session.create", { sessionId: "s" });
    const first = await one.send({ sessionId: "s", prompt: "a" });
    await node.call("session.send");
    const waiting = [
      await one.send({ sessionId: "s", prompt: "b" }),
      await one.send({ sessionId: "s", prompt: "c" }),
    ];
    node.breakPipes();
    await settle();
    expect(waiting.map(({ turn }) => turn.state.kind)).not.toContain("ended");
    node.crash();
    expect((await first.turn.ended).kind).toBe("interrupted");
    await node.call("session.send", 1);
    await settle();
    expect(waiting.map(({ turn }) => turn.state.kind)).toEqual(["running", "queued"]);
  });

  it("gets no message after its pipe has broken over one", async () => {
    await using node = await startFakeNode();
    const one = node.connect();
    await one.request("session.create", { sessionId: "s" });
    node.hold("session.send");
    const first = one.send({ sessionId: "s", prompt: "a" });
    const refused = expect(first).rejects.toMatchObject({ code: "runtime_gone" });
    await node.call("session.send");
    const second = await one.send({ sessionId: "s", prompt: "b" });
    node.breakPipes();
    await refused;
    await settle();
    expect(second.turn.state.kind).toBe("submitting");
    node.crash();
    (await node.call("session.send", 1)).answer({ messageId: "of-b" });
    await settle();
    expect(second.turn.state.kind).toBe("running");
  });
});

describe("what is taken back", () => {
  it("is told to who has taken it back: its message waited, and no runtime says that it has ended", async () => {
    await using node = await startFakeNode();
    const told: unknown[] = [];
    const one = node.connect({ notify: (_method, params) => void told.push(params) });
    const other = node.connect();
    await one.request("session.create", { sessionId: "s" });
    await other.request("session.resume", { sessionId: "s" });
    await other.send({ sessionId: "s", prompt: "a" });
    const { turn } = await one.send({ sessionId: "s", prompt: "b" });
    await one.request("session.abort", { sessionId: "s" });
    expect((await turn.ended).kind).toBe("aborted");
    expect(told).toContainEqual(
      expect.objectContaining({
        event: expect.objectContaining({
          type: "session.idle",
          data: { mode: "interactive", aborted: true },
        }),
      }),
    );
  });
});

describe("what one attachment may hold", () => {
  it("is a bounded number of interests, and a released one makes room", async () => {
    await using node = await startFakeNode();
    const one = node.connect();
    await one.request("session.create", { sessionId: "s" });
    node.hold("session.eventLog.registerInterest");
    const register = async (nth: number) => {
      const asked = one.request("session.eventLog.registerInterest", {
        sessionId: "s",
        eventType: "mcp.oauth_required",
      });
      const call = await Promise.race([
        node.call("session.eventLog.registerInterest", nth),
        asked.then(() => undefined),
      ]);
      call?.answer({ handle: `handle-${nth}` });
      return asked;
    };
    for (let nth = 0; nth < 100; nth++) await register(nth);
    await expect(register(100)).rejects.toMatchObject({ code: "rate_limited" });
    await one.request("session.eventLog.releaseInterest", { sessionId: "s", handle: "handle-7" });
    await register(100);
    expect(node.gateway.hosts[0]?.attachments[0]?.interests.size).toBe(100);
  });
});

describe("a client that makes its session's model calls", () => {
  it("goes on making them when another one cannot open the session", async () => {
    await using node = await startFakeNode({
      allow: {
        all: false,
        models: ["*"],
        provider: true,
        tools: ["custom:*"],
        mcp: { http: false, stdio: false },
        workingDirectories: [],
      },
    });
    const [one, two] = [node.connect(), node.connect()];
    await one.request("llmInference.setProvider", {});
    await one.request("session.create", { sessionId: "s" });
    expect(node.gateway.hosts[0]?.inferenceBy).toBe(one);
    node.hold("session.resume");
    const resumed = two.request("session.resume", { sessionId: "s" });
    (await node.call("session.resume")).fail("no");
    await expect(resumed).rejects.toThrow("no");
    expect(node.gateway.hosts[0]?.inferenceBy).toBe(one);
  });
});

describe("what a session is resumed with", () => {
  const allow = {
    all: false,
    models: ["*"],
    provider: false,
    tools: ["custom:*"],
    mcp: { http: true, stdio: true },
    workingDirectories: [],
  };
  const mcpServers = {
    web: {
      type: "http",
      url: "https://mcp.example",
      headers: { Authorization: "Bearer header-secret" },
      tools: ["*"],
    },
    tool: { type: "local", command: "tool", args: [], env: { TOKEN: "env-secret" }, tools: ["*"] },
  };
  const customAgents = [{ name: "helper", prompt: "Help.", mcpServers }];

  it("has the secrets of its MCP servers in the runtime and never in the store", async () => {
    await using node = await startFakeNode({ allow });
    const one = node.connect();
    await one.request("session.create", { sessionId: "s", mcpServers, customAgents });
    const create = await node.call("session.create");
    expect(create.params).toMatchObject({ mcpServers, customAgents });
    const row = await node.store.sessions.byName("acme", "alice", "s");
    expect(row?.record).toContain("https://mcp.example");
    expect(row?.record).not.toMatch(/header-secret|env-secret/);
  });

  it("is asked for when the secrets of its MCP servers are gone", async () => {
    await using node = await startFakeNode({ allow });
    const one = node.connect();
    await one.request("session.create", { sessionId: "s", mcpServers });
    await one.close();
    await settle();
    expect(node.gateway.hosts).toHaveLength(0);
    const two = node.connect();
    await two.watch("s");
    await expect(two.request("session.getMessages", { sessionId: "s" })).rejects.toMatchObject({
      code: "credentials_needed",
    });
    expect(await two.request("session.resume", { sessionId: "s", mcpServers })).toMatchObject({
      sessionId: "s",
    });
    expect((await node.call("session.create", 1)).params).toMatchObject({ mcpServers });
  });

  it("keeps the latest model, however it was chosen", async () => {
    await using node = await startFakeNode();
    const [one, two] = [node.connect(), node.connect()];
    await one.request("session.create", { sessionId: "s" });
    await one.request("session.options.update", { sessionId: "s", model: "first" });
    node.event(idOf(node), "session.model_change", { newModel: "second" });
    await one.request("session.name.set", { sessionId: "s", name: "n" });
    node.crash();
    await two.watch("s");
    await two.request("session.getMessages", { sessionId: "s" });
    expect((await node.call("session.create", 1)).params.model).toBe("second");
    expect((await node.call("session.options.update", 2)).params.model).toBeUndefined();
  });
});
