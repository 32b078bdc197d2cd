import { describe, expect, it } from "vitest";
import type { Connection } from "../../../src/gateway/vocabulary.ts";
import type { OwnedSession, SessionRole } from "../../../src/store/store.ts";
import { type FakeNode, settle, startFakeNode } from "./fake-node.ts";

const principalOf = (user: string) => ({ tenant: "acme", user, roles: ["user"] as const });
const alice = principalOf("alice");

const rowOf = async (node: FakeNode, user = "alice", name = "s"): Promise<OwnedSession> => {
  const row = await node.store.sessions.byName("acme", user, name);
  if (row === undefined) throw new Error(`${user} has no session ${name}.`);
  return row;
};

const give = async (node: FakeNode, role: SessionRole, user = "bob"): Promise<void> => {
  await node.gateway.services.participants.grant(alice, await rowOf(node), { user, role });
};

const remove = async (node: FakeNode, user = "bob"): Promise<void> =>
  node.gateway.services.participants.revoke(alice, await rowOf(node), user);

/** Alice with a session, and Bob attached to it. */
const room = async (
  node: FakeNode,
  role: SessionRole = "writer",
): Promise<{ hers: Connection; his: Connection }> => {
  const hers = node.connect();
  await hers.request("session.create", { sessionId: "s" });
  await give(node, role);
  const his = node.connect({}, "bob");
  await his.request("session.resume", { sessionId: "alice~s" });
  return { hers, his };
};

const forbidden = expect.objectContaining({ code: "forbidden" });

describe("a participant who is removed", () => {
  it("does not get the answer to a call that a runtime has still to answer", async () => {
    await using node = await startFakeNode();
    const { his } = await room(node, "reader");
    node.hold("session.getMessages");
    const asked = his.request("session.getMessages", { sessionId: "alice~s" });
    const refused = expect(asked).rejects.toEqual(forbidden);
    const call = await node.call("session.getMessages");
    await remove(node);
    call.answer({ events: ["secret"] });
    await refused;
  });

  it("is not attached by an opening that was under way", async () => {
    await using node = await startFakeNode();
    const { his } = await room(node);
    await his.request("session.detach", { sessionId: "alice~s" });
    for (const host of node.gateway.hosts) await host.abandon();
    node.hold("session.create");
    node.hold("session.resume");
    const sent: string[] = [];
    const again = node.connect({ notify: (method) => void sent.push(method) }, "bob");
    const opening = again.request("session.resume", { sessionId: "alice~s" });
    const refused = expect(opening).rejects.toEqual(forbidden);
    const call = await Promise.race([node.call("session.resume"), node.call("session.create", 1)]);
    await remove(node);
    call.answer({});
    await refused;
    expect(node.gateway.hosts[0]?.attachments.map(({ name }) => name)).toEqual(["s"]);
    expect(again.attachments.size).toBe(0);
  });

  it("is not attached by an opening that waited for another one", async () => {
    await using node = await startFakeNode();
    const { hers, his } = await room(node);
    await his.request("session.detach", { sessionId: "alice~s" });
    await settle();
    node.hold("session.resume");
    const resumes = node.calls.filter(({ method }) => method === "session.resume").length;
    const before = hers.request("session.resume", { sessionId: "s", model: "another" });
    const call = await node.call("session.resume", resumes);
    const opening = his.request("session.resume", { sessionId: "alice~s" });
    const watching = his.watch("alice~s").then(() => expect(his.attachments.size).toBe(1));
    const refused = expect(opening).rejects.toEqual(forbidden);
    await watching;
    await remove(node);
    call.answer({});
    await Promise.all([before, refused]);
    expect(node.gateway.hosts[0]?.attachments.map(({ name }) => name)).toEqual(["s"]);
    expect(his.attachments.size).toBe(0);
  });

  it("sends nothing by a message that was on its way to the queue, or into the running turn", async () => {
    await using node = await startFakeNode();
    const { hers, his } = await room(node);
    await hers.request("session.send", { sessionId: "s", prompt: "hers" });
    const late = Promise.allSettled([
      his.request("session.send", { sessionId: "alice~s", prompt: "his" }),
      his.request("session.send", { sessionId: "alice~s", prompt: "his", mode: "immediate" }),
    ]);
    const removed = remove(node);
    await Promise.all([late, removed]);
    await settle();
    const host = node.gateway.hosts[0];
    expect(host?.waiting).toEqual([]);
    const prompts = node.calls
      .filter(({ method }) => method === "session.send")
      .map(({ params }) => params.prompt);
    node.event(host?.row.id ?? "", "session.idle");
    await settle();
    expect(node.calls.filter(({ method }) => method === "session.send")).toHaveLength(prompts.length);
    await expect(his.request("session.send", { sessionId: "alice~s", prompt: "x" })).rejects.toMatchObject({
      code: "session_not_found",
    });
  });

  it("has what waits to be steered refused", async () => {
    await using node = await startFakeNode();
    const { hers, his } = await room(node);
    node.hold("session.send");
    const running = hers.request("session.send", { sessionId: "s", prompt: "hers" });
    const taken = await node.call("session.send");
    const steered = his.request("session.send", { sessionId: "alice~s", prompt: "his", mode: "immediate" });
    const refused = expect(steered).rejects.toEqual(forbidden);
    await settle();
    await remove(node);
    taken.answer({ messageId: "m1" });
    await running;
    await refused;
    expect(node.calls.filter(({ method }) => method === "session.send")).toHaveLength(1);
  });

  it("is removed though no runtime can be asked to abort the running turn", async () => {
    await using node = await startFakeNode();
    const { his } = await room(node);
    await his.request("session.send", { sessionId: "alice~s", prompt: "his" });
    node.hold("session.abort");
    const removed = remove(node);
    await node.call("session.abort");
    expect(node.gateway.hosts[0]?.attachments).toHaveLength(1);
    node.clock.advance(5_000);
    await removed;
  });

  it("reads nothing by a stream that was being opened", async () => {
    await using node = await startFakeNode();
    await room(node);
    const row = await rowOf(node, "bob", "alice~s");
    const expelled: unknown[] = [];
    const reading = Promise.allSettled(
      Array.from({ length: 20 }, async (_, at) => {
        for (let turn = 0; turn < at; turn++) await Promise.resolve();
        return node.gateway.services.hosts.read(row, {
          user: "bob",
          onExpelled: (reason) => void expelled.push(reason),
          position: undefined,
          listener: () => undefined,
          signal: new AbortController().signal,
        });
      }),
    );
    await remove(node);
    const opened = (await reading).filter(({ status }) => status === "fulfilled").length;
    expect(expelled.length).toBeGreaterThanOrEqual(opened);
    // Found before it was removed.
    await expect(
      node.gateway.services.hosts.read(row, {
        user: "bob",
        onExpelled: () => undefined,
        position: undefined,
        listener: () => undefined,
        signal: new AbortController().signal,
      }),
    ).rejects.toEqual(forbidden);
  });

  it("by another node, reads no more when the session is opened here", async () => {
    await using node = await startFakeNode();
    const { hers, his } = await room(node);
    await his.request("session.detach", { sessionId: "alice~s" });
    await hers.request("session.destroy", { sessionId: "s" });
    await settle();
    expect(node.gateway.hosts).toHaveLength(0);
    const row = await rowOf(node, "bob", "alice~s");
    const { promise: expelled, resolve: onExpelled } = Promise.withResolvers<unknown>();
    await node.gateway.services.hosts.read(row, {
      user: "bob",
      onExpelled,
      position: undefined,
      listener: () => undefined,
      signal: new AbortController().signal,
    });
    await node.store.participants.revoke(row.id, "bob");
    await hers.request("session.resume", { sessionId: "s" });
    expect(await expelled).toEqual(forbidden);
  });

  it("leaves no session open here that nobody has open", async () => {
    await using node = await startFakeNode();
    const { hers, his } = await room(node);
    await his.request("session.detach", { sessionId: "alice~s" });
    await hers.request("session.destroy", { sessionId: "s" });
    await settle();
    expect(node.gateway.hosts).toHaveLength(0);
    await remove(node);
    await settle();
    expect(node.gateway.hosts).toHaveLength(0);
    await give(node, "reader");
    await settle();
    expect(node.gateway.hosts).toHaveLength(0);
  });
});

describe("what an owner does", () => {
  it("counts no more when another owner has removed them meanwhile", async () => {
    await using node = await startFakeNode();
    await room(node, "owner");
    const { participants } = node.gateway.services;
    const bob = principalOf("bob");
    const as = await rowOf(node, "bob", "alice~s");
    const removed = participants.revoke(alice, await rowOf(node), "bob");
    const late = [
      participants.grant(bob, as, { user: "eve", role: "owner" }),
      participants.invite(bob, as, { role: "writer", uses: 1, ttlMs: 60_000 }),
      participants.revoke(bob, as, "eve"),
    ].map((attempt) => expect(attempt).rejects.toEqual(forbidden));
    await Promise.all([removed, ...late]);
    expect((await node.store.participants.list(as.id)).map(({ user }) => user)).toEqual(["alice"]);
  });

  it("is done in the order in which it was asked for, and the last word counts for the connections", async () => {
    await using node = await startFakeNode();
    const { his } = await room(node);
    await Promise.all([
      give(node, "reader"),
      give(node, "owner"),
      give(node, "writer"),
      give(node, "reader"),
    ]);
    expect(his.attachments.get("alice~s")?.role).toBe("reader");
    await expect(his.request("session.send", { sessionId: "alice~s", prompt: "x" })).rejects.toEqual(
      forbidden,
    );
    expect((await rowOf(node, "bob", "alice~s")).role).toBe("reader");
  });
});

it("a removal that was stored and then failed is made good by the next one", async () => {
  await using node = await startFakeNode();
  const { his } = await room(node);
  await node.store.participants.revoke((await rowOf(node)).id, "bob");
  expect(his.attachments.size).toBe(1);
  await expect(remove(node)).rejects.toMatchObject({ code: "not_found" });
  expect(his.attachments.size).toBe(0);
});

it("what a participant's client declares is no part of the session, and a role says what of it counts", async () => {
  await using node = await startFakeNode();
  const { his } = await room(node, "reader");
  const host = node.gateway.hosts[0];
  await his.request("session.resume", {
    sessionId: "alice~s",
    tools: [{ name: "bobs", description: "d" }],
    commands: [{ name: "bobs", description: "d" }],
    hooks: true,
    streaming: true,
    requestPermission: true,
    requestUserInput: true,
    requestExitPlanMode: true,
  });
  const counted = () => host?.attachments.find(({ founder }) => !founder)?.declarations;
  expect([...(counted()?.flags ?? [])]).toEqual(["streaming"]);
  await give(node, "writer");
  expect([...(counted()?.flags ?? [])]).toEqual(["streaming", "requestPermission", "requestUserInput"]);
  expect(counted()?.lists).toEqual({ tools: [], commands: [], canvases: [] });
  await settle();
  const last = node.calls.filter(({ method }) => method === "session.resume").at(-1);
  expect(last?.params).toMatchObject({ hooks: false, requestPermission: true, requestExitPlanMode: false });
  expect(last?.params).not.toHaveProperty("tools");
  expect(last?.params).not.toHaveProperty("commands");
});
