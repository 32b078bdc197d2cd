import { approveAll } from "@github/copilot-sdk";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { readStream, type StreamReader } from "../support/event-reader.ts";
import { httpOf } from "../support/http-client.ts";
import { startTestNode, type TestNode, type UserName } from "../support/test-node.ts";
import { eventually } from "../support/wait.ts";

let squadron: TestNode;
beforeAll(async () => {
  squadron = await startTestNode({ isolation: "shared" });
});
afterAll(() => squadron?.stop());

const newSession = async (name?: string): Promise<string> => {
  const { body } = await httpOf(squadron).call("alice", "POST", "/v1/sessions", { name });
  return String(body.id);
};

const follow = (user: UserName, id: string, from?: string): StreamReader =>
  readStream(
    (lastId, signal) =>
      squadron.fetch(user, `/v1/sessions/${id}/events`, {
        signal,
        headers: lastId === undefined ? {} : { "last-event-id": lastId },
      }),
    from === undefined ? {} : { from },
  );

const asides = (reader: StreamReader) => reader.events.filter(({ event }) => event === "presence");

/** What it was told last: `user+` is attached, `user~` types. */
const present = (reader: StreamReader): string | undefined => {
  const { users } = (asides(reader).at(-1)?.data.data ?? {}) as {
    users?: readonly { user: string; attached: boolean; typing: boolean }[];
  };
  return users
    ?.map(({ user, attached, typing }) => user + (attached ? "+" : "") + (typing ? "~" : ""))
    .join(" ");
};

const isTyping = async (user: UserName, id: string): Promise<boolean> => {
  const { body } = await httpOf(squadron).call(user, "GET", `/v1/sessions/${id}/participants`);
  const participants = body.participants as readonly { user: string; typing: boolean }[];
  return participants.some((one) => one.user === user && one.typing);
};

const setTyping = (user: UserName, id: string, typing: unknown) =>
  httpOf(squadron).call(user, "POST", `/v1/sessions/${id}/typing`, { typing });

describe("presence in a session's event stream", () => {
  it("is told at the begin, when somebody types, and no more when the message is sent", async () => {
    const id = await newSession();
    await using reader = follow("alice", id);
    await reader.until("the begin", () => present(reader) === "alice+");
    expect(reader.events[0]?.event).toBe("stream.opened");
    expect((await setTyping("alice", id, true)).status).toBe(204);
    await reader.until("typing", () => present(reader) === "alice+~");
    expect(await isTyping("alice", id)).toBe(true);
    const { status } = await httpOf(squadron).call("alice", "POST", `/v1/sessions/${id}/messages`, {
      prompt: "[[echo hi]]",
    });
    expect(status).toBe(200);
    expect(await isTyping("alice", id)).toBe(false);
    await reader.until("no typing", () => present(reader) === "alice+");
    expect((await setTyping("bob", id, true)).status).toBe(404);
    expect((await setTyping("alice", id, "yes")).status).toBe(400);
  });

  it("has each participant from the moment on that who takes part has changed, and a reader types nothing", async () => {
    const id = await newSession();
    const { call } = httpOf(squadron);
    const part = (method: string, role?: string) =>
      call("alice", method, `/v1/sessions/${id}/participants/bob`, role && { role });
    await using alice = follow("alice", id);
    await alice.until("the begin", () => present(alice) === "alice+");
    await part("PUT", "writer");
    await alice.until("bob takes part", () => present(alice) === "alice+ bob");
    const order = alice.events.map(({ event }) => event).filter((event) => !event.startsWith("stream."));
    expect(order.slice(-2)).toEqual(["participant.changed", "presence"]);
    await using bob = follow("bob", id);
    for (const reader of [alice, bob])
      await reader.until("bob is there", () => present(reader) === "alice+ bob+");
    await setTyping("bob", id, true);
    await alice.until("bob types", () => present(alice) === "alice+ bob+~");
    const listed = await call("alice", "GET", `/v1/sessions/${id}/participants`);
    expect(listed.body.participants).toEqual([
      { user: "alice", role: "owner", attached: true, typing: false },
      { user: "bob", role: "writer", attached: true, typing: true },
    ]);
    await part("PUT", "reader");
    await alice.until("bob only reads", () => present(alice) === "alice+ bob+");
    expect(await setTyping("bob", id, true)).toMatchObject({
      status: 403,
      body: { code: "forbidden", details: { needed: "writer" } },
    });
    await part("DELETE");
    await alice.until("bob is gone", () => present(alice) === "alice+");
    expect(present(bob)).toBe("alice+ bob+");
  });

  it("counts an SDK client as long as it is attached, and no request that waits", async () => {
    const id = await newSession("attached");
    const client = squadron.client("alice");
    const session = await client.resumeSession("attached", { onPermissionRequest: approveAll });
    await httpOf(squadron).call("alice", "PUT", `/v1/sessions/${id}/participants/bob`, { role: "reader" });
    await using bob = follow("bob", id);
    await bob.until("alice is attached", () => present(bob) === "alice+ bob+");
    const { hosts } = squadron.node.gateway.services;
    const row = await squadron.node.gateway.services.store.sessions.byPublicId(id, "acme", "alice");
    const of = () => hosts.presence.of(row?.id ?? "", "alice").attached;
    expect(of()).toBe(true);
    await session.disconnect();
    await eventually(() => !of(), { what: "it is detached" });
    await bob.until("alice has left", () => present(bob) === "alice bob+");
    const again = await client.resumeSession("attached", { onPermissionRequest: approveAll });
    await bob.until("alice is back", () => present(bob) === "alice+ bob+");
    await again.disconnect();
    const saying = httpOf(squadron).call("alice", "POST", `/v1/sessions/${id}/messages`, {
      prompt: "[[hold alone]]",
    });
    await eventually(() => squadron.model.holding("alone") === 1, { what: "the message is being answered" });
    expect(of()).toBe(false);
    squadron.model.release("alone");
    await saying;
  });

  it("takes no place: a reader that comes back misses nothing and gets nothing twice", async () => {
    const id = await newSession();
    await using whole = follow("alice", id, "start");
    await using cut = follow("alice", id, "start");
    const saying = httpOf(squadron).call("alice", "POST", `/v1/sessions/${id}/messages`, {
      prompt: "[[delay 5]] [[tokens 60]]",
    });
    for (const typing of [true, false, true]) {
      const before = asides(cut).length;
      await setTyping("alice", id, typing);
      await cut.until("presence", () => asides(cut).length > before);
      cut.drop();
    }
    await saying;
    const told = (reader: StreamReader) => {
      const events = reader.events.filter(({ event }) => !["stream.opened", "presence"].includes(event));
      const end = events.findIndex(({ event }) => event === "turn.completed");
      return end < 0 ? undefined : events.slice(0, end + 1).map(({ id, event }) => `${id} ${event}`);
    };
    for (const reader of [whole, cut]) await reader.until("the end", () => told(reader));
    await cut.until("it is back", () => cut.reconnects >= 3);
    expect(told(cut)).toEqual(told(whole));
    for (const { id, data } of asides(cut)) {
      expect(data).toMatchObject({ type: "presence", ephemeral: true });
      expect(id).toBeDefined();
    }
  });
});
