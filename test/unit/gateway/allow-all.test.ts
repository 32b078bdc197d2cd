import { describe, expect, it } from "vitest";
import { allowEverything } from "../../../src/config/config.ts";
import type { Runtime } from "../../../src/fleet/fleet.ts";
import { isObject } from "../../../src/kernel/json.ts";
import { readEnvelope } from "../../../src/wire/envelope.ts";
import { type FakeNode, settle, startFakeNode } from "./fake-node.ts";

const sessions = {
  ttlMs: 1e9,
  hibernateAfterMs: 60_000,
  infinite: { enabled: true, backgroundCompactionThreshold: 0.8 },
};
const startNode = () => startFakeNode({ allow: allowEverything, trusted: true, sessions });

const runtimeOf = ({ gateway }: FakeNode): Runtime => {
  const runtime = gateway.hosts[0]?.runtime;
  if (runtime === undefined) throw new Error("There is no runtime.");
  return runtime;
};

const tell = (node: FakeNode, method: string, params: unknown): void =>
  node.gateway
    .serve(runtimeOf(node))
    .notification(readEnvelope(Buffer.from(JSON.stringify({ jsonrpc: "2.0", method, params }))));

/** A client that notes what it is told of shells, and when its call is answered. */
const openShellClient = (node: FakeNode) => {
  const heard: string[] = [];
  const connection = node.connect({
    sendRaw: (body) => {
      const { method, params } = JSON.parse(body.toString());
      if (String(method).startsWith("shell."))
        heard.push(`${method} ${params.processId} ${params.data ?? ""}`.trim());
    },
  });
  const exec = () =>
    connection
      .request("session.shell.exec", { sessionId: "s", command: "x" })
      .then(() => heard.push("answer"));
  return { heard, connection, exec };
};

describe("what a runtime tells of a client's shell", () => {
  it("waits for the answer that names the process, and is dropped if none does", async () => {
    await using node = await startNode();
    const { heard, connection, exec } = openShellClient(node);
    await connection.request("session.create", { sessionId: "s" });
    tell(node, "shell.output", { processId: "p", stream: "stdout", data: "of nobody" });
    node.hold("session.shell.exec");
    const done = exec();
    const call = await node.call("session.shell.exec");
    tell(node, "shell.output", { processId: "p", stream: "stdout", data: "early" });
    tell(node, "shell.output", { processId: "q", stream: "stdout", data: "another's" });
    tell(node, "shell.exit", { processId: "p", exitCode: 0 });
    await settle();
    expect(heard).toEqual([]);
    call.answer({ processId: "p" });
    // In the same moment, as it comes out of a pipe.
    tell(node, "shell.output", { processId: "p", stream: "stdout", data: "with the answer" });
    await done;
    await settle();
    expect(heard[0]).toBe("answer");
    expect(heard.slice(1, 2)).toEqual(["shell.output p early"]);
    expect(heard).toContain("shell.exit p");
    expect(heard.join()).not.toMatch(/nobody|another/);
  });

  it("keeps no more than a bounded part of what came early", async () => {
    await using node = await startNode();
    const { heard, connection, exec } = openShellClient(node);
    await connection.request("session.create", { sessionId: "s" });
    node.hold("session.shell.exec");
    const done = exec();
    const call = await node.call("session.shell.exec");
    for (let at = 0; at < 40; at++)
      tell(node, "shell.output", { processId: "p", stream: "stdout", data: "x".repeat(100_000) });
    tell(node, "shell.exit", { processId: "p", exitCode: 0 });
    call.answer({ processId: "p" });
    await done;
    await settle();
    expect(heard.filter((line) => line.startsWith("shell.output"))).toHaveLength(10);
    expect(heard.at(-1)).toBe("shell.exit p");
  });

  it("keeps the session awake until the process or the runtime has ended", async () => {
    await using node = await startNode();
    const { connection, exec } = openShellClient(node);
    await connection.request("session.create", { sessionId: "s" });
    const evictable = () => node.gateway.hosts[0]?.evictable;
    node.hold("session.shell.exec");
    for (const processId of ["p", "q"]) {
      const done = exec();
      (await node.call("session.shell.exec", processId === "p" ? 0 : 1)).answer({ processId });
      await done;
      await settle();
      expect(evictable()).toBe(false);
      if (processId === "p") tell(node, "shell.exit", { processId, exitCode: 0 });
      else {
        node.crash();
        await connection.request("session.mode.get", { sessionId: "s" });
      }
      await settle();
      expect(evictable()).toBe(true);
    }
  });
});

describe("a call about a runtime", () => {
  it("has the runtime's ids in and the caller's names out, and knows only the caller's sessions", async () => {
    await using node = await startNode();
    const connection = node.connect();
    for (const sessionId of ["one", "two"]) await connection.request("session.create", { sessionId });
    const [one, two] = node.gateway.hosts.map(({ row }) => row.id);
    node.hold("sessions.transferRemoteControl");
    const moved = connection.request("sessions.transferRemoteControl", {
      toSessionId: "two",
      expectedFromSessionId: "one",
    });
    const call = await node.call("sessions.transferRemoteControl");
    expect(call.params).toEqual({ toSessionId: two, expectedFromSessionId: one });
    call.answer({ status: { attachedSessionId: two } });
    expect(await moved).toEqual({ status: { attachedSessionId: "two" } });
    await expect(
      connection.request("sessions.transferRemoteControl", { toSessionId: two }),
    ).rejects.toMatchObject({ code: "session_not_found" });
  });

  it("keeps the runtime for as long as it takes, and then it ends when nobody is in it", async () => {
    await using node = await startNode();
    const connection = node.connect();
    node.hold("tools.list");
    const first = connection.request("tools.list", {});
    (await node.call("tools.list")).answer({ tools: [] });
    await first;
    const second = connection.request("tools.list", {});
    const call = await node.call("tools.list", 1);
    node.clock.advance(61_000);
    await settle();
    expect(node.killed).toEqual([]);
    call.answer({ tools: [] });
    await second;
    node.clock.advance(59_000);
    await settle();
    expect(node.killed).toEqual([]);
    node.clock.advance(2_000);
    await settle();
    expect(node.killed).toEqual(["user/acme/alice"]);
  });

  it("does not end a runtime that a session has come into since", async () => {
    await using node = await startNode();
    const connection = node.connect();
    await connection.request("tools.list", {});
    node.clock.advance(59_000);
    await connection.request("session.create", { sessionId: "s" });
    node.clock.advance(2_000);
    await settle();
    expect([node.killed, node.gateway.hosts[0]?.life]).toEqual([[], "live"]);
  });

  it("says that the runtime has gone when it dies over it", async () => {
    await using node = await startNode();
    const connection = node.connect();
    node.hold("tools.list");
    const asked = connection.request("tools.list", {});
    await node.call("tools.list");
    node.crash();
    await expect(asked).rejects.toMatchObject({ code: "runtime_gone" });
  });
});

describe("work that the node has not queued", () => {
  it.each(["user.message", "assistant.turn_start"])("begins with %s and ends with the idle", async (type) => {
    await using node = await startNode();
    const told: unknown[] = [];
    const connection = node.connect({
      notify: (_method, params) => told.push(isObject(params) && isObject(params.event) && params.event.type),
    });
    await connection.request("session.create", { sessionId: "s" });
    await settle();
    const [host] = node.gateway.hosts;
    const id = host?.row.id ?? "";
    node.event(id, type);
    await settle();
    expect([host?.busy, host?.evictable]).toEqual([true, false]);
    node.event(id, "session.idle", { mode: "autopilot" });
    await settle();
    expect(host?.busy).toBe(true);
    node.event(id, "session.idle", { mode: "interactive" });
    await settle();
    expect([host?.busy, host?.evictable]).toEqual([false, true]);
    node.event(id, type);
    await settle();
    node.crash();
    await settle();
    expect(host?.busy).toBe(false);
    // The idle behind an error waits for its client.
    node.clock.advance(2_000);
    expect(told).toEqual(expect.arrayContaining(["session.error", "session.idle"]));
  });

  it("is expected for a moment after a call that may begin it", async () => {
    await using node = await startNode();
    const connection = node.connect();
    await connection.request("session.create", { sessionId: "s" });
    await connection.request("session.sendMessages", { sessionId: "s", messages: [{ prompt: "x" }] });
    await settle();
    const [host] = node.gateway.hosts;
    expect(host?.evictable).toBe(false);
    node.clock.advance(2_000);
    expect(host?.evictable).toBe(true);
  });

  it("is not what a subagent does", async () => {
    await using node = await startNode();
    await node.connect().request("session.create", { sessionId: "s" });
    const [host] = node.gateway.hosts;
    tell(node, "session.event", {
      sessionId: host?.row.id,
      event: { id: "e", type: "assistant.turn_start", agentId: "a", data: {} },
    });
    await settle();
    expect(host?.busy).toBe(false);
  });
});
