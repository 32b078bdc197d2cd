import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, it, vi } from "vitest";
import { SquadronError } from "../../../src/kernel/errors.ts";
import { type FakeNode, settle, startFakeNode } from "./fake-node.ts";

const idOf = (node: FakeNode): string => node.gateway.hosts[0]?.row.id ?? "";

/** A client with a session, and the types of the events that it was told, with the text of errors. */
const attach = async (node: FakeNode) => {
  const seen: string[] = [];
  const note = ({ event }: { event: { type: string; data: { message?: string } } }): void =>
    void seen.push(event.data.message === undefined ? event.type : `${event.type}: ${event.data.message}`);
  const client = node.connect({
    sendRaw: (body) => note(JSON.parse(body.toString()).params),
    notify: (_method, params) => note(params as Parameters<typeof note>[0]),
  });
  await client.request("session.create", { sessionId: "s" });
  return { client, seen };
};

const rowsOf = async (node: FakeNode) =>
  (await node.store.turns.list(idOf(node), { limit: 10 })).map(({ state, reason }) => ({ state, reason }));

describe("the end of a turn", () => {
  it("is in the store before anybody is told of it", async () => {
    await using node = await startFakeNode();
    const { client, seen } = await attach(node);
    const { turn } = await client.send({ sessionId: "s", prompt: "hello" });
    const stored = Promise.withResolvers<void>();
    const original = node.store.state.commit.bind(node.store.state);
    vi.spyOn(node.store.state, "commit").mockImplementationOnce(async (one) => {
      await stored.promise;
      return original(one);
    });
    node.event(idOf(node), "user.message", { messageId: "runtime-message-1" });
    node.event(idOf(node), "session.idle");
    await settle();
    expect([seen, turn.state.kind, await rowsOf(node)]).toEqual([
      ["user.message"],
      "running",
      [{ state: "begun", reason: null }],
    ]);
    stored.resolve();
    expect(await turn.ended).toMatchObject({ kind: "completed" });
    expect([seen, await rowsOf(node)]).toEqual([
      ["user.message", "session.idle"],
      [{ state: "completed", reason: null }],
    ]);
  });

  it("counts when it could be stored although the runtime dies meanwhile", async () => {
    await using node = await startFakeNode();
    const { client, seen } = await attach(node);
    const { turn } = await client.send({ sessionId: "s", prompt: "hello" });
    const stored = Promise.withResolvers<void>();
    const original = node.store.state.commit.bind(node.store.state);
    vi.spyOn(node.store.state, "commit").mockImplementationOnce(async (one) => {
      await stored.promise;
      return original(one);
    });
    node.event(idOf(node), "session.idle");
    await settle();
    node.crash();
    stored.resolve();
    expect(await turn.ended).toMatchObject({ kind: "completed" });
    await settle();
    expect([seen, await rowsOf(node)]).toEqual([["session.idle"], [{ state: "completed", reason: null }]]);
  });

  it("is in its row what it is in the history, although the node says meanwhile that it stops", async () => {
    await using node = await startFakeNode();
    const { client } = await attach(node);
    const { turn } = await client.send({ sessionId: "s", prompt: "hello" });
    const stored = Promise.withResolvers<void>();
    const original = node.store.state.commit.bind(node.store.state);
    const commit = vi.spyOn(node.store.state, "commit").mockImplementationOnce(async (one) => {
      await stored.promise;
      return original(one);
    });
    node.event(idOf(node), "session.idle");
    await settle();
    expect(commit).toHaveBeenCalledOnce();
    node.gateway.hosts[0]?.stop("closing");
    expect(await turn.ended).toMatchObject({ kind: "interrupted" });
    await settle();
    stored.resolve();
    await commit.mock.results[0]?.value;
    await settle();
    expect(await rowsOf(node)).toEqual([{ state: "completed", reason: null }]);
  });

  it("takes no message for a session that is gone from the store", async () => {
    await using node = await startFakeNode();
    const { client } = await attach(node);
    await node.store.sessions.delete(idOf(node));
    await expect(
      client.send({ sessionId: "s", prompt: "hello" }, { answer: "stored" }),
    ).rejects.toMatchObject({ code: "session_deleted" });
  });
});

describe("a turn whose work cannot be stored", () => {
  const full = new SquadronError("store_unavailable", "The disk is full.");

  it("is interrupted for whoever asked and in the store, and told to nobody as done", async () => {
    await using node = await startFakeNode();
    const { client, seen } = await attach(node);
    const { turn } = await client.send({ sessionId: "s", prompt: "hello" });
    vi.spyOn(node.store.state, "commit").mockRejectedValueOnce(full);
    node.event(idOf(node), "assistant.message", { content: "done" });
    node.event(idOf(node), "session.idle");
    expect(await turn.ended).toMatchObject({ kind: "interrupted", message: expect.stringContaining("disk") });
    await settle();
    expect(seen).toEqual([
      "assistant.message",
      expect.stringMatching(/^session\.error: .*not be stored.*full/),
    ]);
    node.clock.advance(1_000);
    expect(seen.at(-1)).toBe("session.idle");
    expect(await rowsOf(node)).toEqual([{ state: "interrupted", reason: expect.stringContaining("disk") }]);
  });

  it("ends with an idle that is not told when its client has asked again and been answered", async () => {
    await using node = await startFakeNode();
    const { client, seen } = await attach(node);
    const first = await client.send({ sessionId: "s", prompt: "one" });
    vi.spyOn(node.store.state, "commit").mockRejectedValueOnce(full);
    node.event(idOf(node), "session.idle");
    await first.turn.ended;
    const second = await client.send({ sessionId: "s", prompt: "two" });
    node.event(idOf(node), "session.idle");
    await second.turn.ended;
    await settle();
    node.clock.advance(10_000);
    await settle();
    expect(seen).toEqual([expect.stringContaining("session.error"), "session.idle"]);
  });

  it("leaves the runtime, and the next message begins from the store", async () => {
    await using node = await startFakeNode();
    const { client, seen } = await attach(node);
    const { turn } = await client.send({ sessionId: "s", prompt: "one" });
    vi.spyOn(node.store.state, "commit").mockRejectedValueOnce(full);
    node.event(idOf(node), "session.idle");
    await turn.ended;
    const second = await client.send({ sessionId: "s", prompt: "two" });
    const methods = node.calls.map(({ method }) => method);
    expect(methods.indexOf("sessions.close")).toBeGreaterThan(methods.indexOf("session.send"));
    expect(methods.lastIndexOf("session.create")).toBeGreaterThan(methods.indexOf("sessions.close"));
    expect(methods.lastIndexOf("session.send")).toBeGreaterThan(methods.lastIndexOf("session.create"));
    node.event(idOf(node), "session.idle");
    expect(await second.turn.ended).toMatchObject({ kind: "completed" });
    expect(seen.at(-1)).toBe("session.idle");
    expect((await rowsOf(node)).map(({ state }) => state)).toEqual(["completed", "interrupted"]);
  });

  it("ends no later turn by what the runtime still says while the session leaves it", async () => {
    await using node = await startFakeNode();
    const { client } = await attach(node);
    const { turn } = await client.send({ sessionId: "s", prompt: "one" });
    vi.spyOn(node.store.state, "commit").mockRejectedValueOnce(full);
    node.hold("sessions.close");
    node.event(idOf(node), "session.idle");
    await turn.ended;
    const sending = client.send({ sessionId: "s", prompt: "two" });
    const close = await node.call("sessions.close");
    // The next message waits for the session to be awake again.
    await settle();
    await settle();
    node.event(idOf(node), "session.idle", { aborted: true });
    await settle();
    close.answer({});
    const second = await sending;
    await settle();
    expect(second.turn.state.kind).toBe("running");
    node.event(idOf(node), "session.idle");
    expect(await second.turn.ended).toMatchObject({ kind: "completed" });
  });

  it("has no end of the runtime's told or stored that came while the store was refusing it", async () => {
    await using node = await startFakeNode();
    const { client, seen } = await attach(node);
    const { turn } = await client.send({ sessionId: "s", prompt: "one" });
    const { promise: refused, reject: refuse } = Promise.withResolvers<never>();
    const commit = vi.spyOn(node.store.state, "commit").mockImplementationOnce(() => refused);
    const directory = node.gateway.hosts[0]?.runtime?.sessionDirectory(idOf(node)) ?? "";
    await mkdir(directory, { recursive: true });
    await writeFile(join(directory, "events.jsonl"), "what the turn did");
    node.event(idOf(node), "assistant.idle");
    await settle();
    node.clock.advance(20);
    await settle();
    node.event(idOf(node), "session.title_changed", { title: "a title" });
    node.event(idOf(node), "session.idle");
    // Another client attaches meanwhile, and the session leaves its runtime only after that.
    node.hold("session.resume");
    const attaching = node.connect().request("session.resume", { sessionId: "s", tools: [{ name: "t" }] });
    const resume = await node.call("session.resume");
    refuse(full);
    expect(await turn.ended).toMatchObject({ kind: "interrupted" });
    await settle();
    expect(seen).toEqual([expect.stringMatching(/^session\.error: .*full/), "session.title_changed"]);
    expect(commit).toHaveBeenCalledOnce();
    resume.answer({});
    await attaching;
    node.clock.advance(1_000);
    expect(seen.slice(2)).toEqual(["session.idle"]);
    expect((await rowsOf(node)).map(({ state }) => state)).toEqual(["interrupted"]);
  });

  it("that could not be stored at a step goes on for nobody", async () => {
    await using node = await startFakeNode();
    const { client } = await attach(node);
    const { turn } = await client.send({ sessionId: "s", prompt: "one" });
    node.event(idOf(node), "user.message", { messageId: "runtime-message-1" });
    const directory = node.gateway.hosts[0]?.runtime?.sessionDirectory(idOf(node)) ?? "";
    await mkdir(directory, { recursive: true });
    await writeFile(join(directory, "plan.md"), "first step");
    vi.spyOn(node.store.state, "commit").mockRejectedValueOnce(full);
    node.clock.advance(1_000);
    node.event(idOf(node), "assistant.turn_end");
    expect(await turn.ended).toMatchObject({ kind: "interrupted" });
    const second = await client.send({ sessionId: "s", prompt: "two" });
    expect(second.turn.state.kind).toBe("running");
    expect((await rowsOf(node)).map(({ state }) => state)).toEqual(["begun", "interrupted"]);
  });
});

describe("a message that waits", () => {
  it("has its row before it is acknowledged, and its end when its sender aborts", async () => {
    await using node = await startFakeNode();
    const { client } = await attach(node);
    await client.send({ sessionId: "s", prompt: "one" });
    const waiting = await client.send({ sessionId: "s", prompt: "two" });
    expect(await rowsOf(node)).toEqual([
      { state: "accepted", reason: null },
      { state: "begun", reason: null },
    ]);
    await client.request("session.abort", { sessionId: "s" });
    expect(await waiting.turn.ended).toMatchObject({ kind: "aborted" });
    await settle();
    expect((await rowsOf(node)).map(({ state }) => state)).toEqual(["aborted", "begun"]);
  });
});
