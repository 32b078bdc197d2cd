import { approveAll } from "@github/copilot-sdk";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type OpenStream, readStream, type StreamReader } from "../support/event-reader.ts";
import { httpOf } from "../support/http-client.ts";
import { startTestNode, type TestNode, type UserName } from "../support/test-node.ts";
import { eventually } from "../support/wait.ts";

let squadron: TestNode;
beforeAll(async () => {
  squadron = await startTestNode({ isolation: "shared" });
});
afterAll(() => squadron?.stop());

const streamOf =
  (user: UserName, id: string, key?: string): OpenStream =>
  (lastId, signal) =>
    squadron.fetch(user, `/v1/sessions/${id}/events`, {
      signal,
      headers: {
        ...(lastId !== undefined && { "last-event-id": lastId }),
        ...(key !== undefined && { authorization: `Bearer ${key}` }),
      },
    });

const newSession = async (): Promise<string> => {
  const { status, body } = await httpOf(squadron).call("alice", "POST", "/v1/sessions", {});
  expect(status).toBe(201);
  return String(body.id);
};

const say = async (id: string, prompt: string): Promise<unknown> => {
  const { status, body } = await httpOf(squadron).call("alice", "POST", `/v1/sessions/${id}/messages`, {
    prompt,
  });
  expect(status).toBe(200);
  return body.content;
};

const history = async (id: string): Promise<readonly Record<string, unknown>[]> => {
  const { body } = await httpOf(squadron).call(
    "alice",
    "GET",
    `/v1/sessions/${id}/messages?view=events&limit=500`,
  );
  const events = body.events as readonly Record<string, unknown>[];
  return events.filter(({ type, ephemeral }) => ephemeral !== true && type !== "system.message");
};

const ids = (events: readonly Record<string, unknown>[]): readonly unknown[] => events.map(({ id }) => id);

const killRuntimes = (): void => {
  for (const { pid } of squadron.node.fleet.list()) if (pid !== undefined) process.kill(pid, "SIGKILL");
};

const opened = (reader: StreamReader): Promise<void> =>
  reader.until("the stream is open", () => reader.events.length > 0);

describe("a session's event stream", () => {
  it("is the history as it grows, with the deltas of what is being said, each with an id", async () => {
    const id = await newSession();
    await using reader = readStream(streamOf("alice", id), { from: "start" });
    await using late = readStream(streamOf("alice", id));
    await opened(late);
    await say(id, "[[tokens 20]]");
    await say(id, "[[echo second]]");
    const all = await history(id);
    await reader.until("all was told", () => reader.joined.length >= all.length);
    expect(ids(reader.joined)).toEqual(ids(all));
    const senders = (events: readonly Record<string, unknown>[]) =>
      events.filter(({ type }) => type === "user.message").map(({ sender }) => sender);
    expect([senders(reader.joined), senders(all)]).toEqual([
      ["alice", "alice"],
      ["alice", "alice"],
    ]);
    expect(ids(late.joined)).toEqual(ids(all).slice(-late.joined.length));
    expect(late.joined.length).toBeGreaterThan(5);
    expect(reader.events.filter(({ event }) => event === "assistant.message_delta").length).toBeGreaterThan(
      5,
    );
    expect(reader.events.every(({ id }) => id !== undefined)).toBe(true);
    expect(reader.events.some(({ event }) => event === "system.message")).toBe(false);
    expect(JSON.stringify(reader.events)).toContain(id);
    const turns = reader.events.filter(({ event }) => event.startsWith("turn."));
    expect(turns.map(({ event }) => event)).toEqual([
      "turn.running",
      "turn.completed",
      "turn.running",
      "turn.completed",
    ]);
    expect(turns[0]?.data).toMatchObject({
      ephemeral: true,
      data: { by: "alice", turnId: expect.any(String) },
    });
  });

  it("goes on where it was cut, from memory with every delta, in the middle of an answer", async () => {
    const id = await newSession();
    await using whole = readStream(streamOf("alice", id), { from: "start" });
    await using cut = readStream(streamOf("alice", id), { from: "start" });
    const saying = say(id, "[[delay 5]] [[tokens 60]]");
    for (const count of [10, 30, 50]) {
      await cut.until(`${count} events`, () => cut.events.length >= count);
      cut.drop();
    }
    await saying;
    for (const reader of [whole, cut])
      await reader.until("the end", () => reader.events.some(({ event }) => event === "turn.completed"));
    const told = (reader: StreamReader) => {
      const all = reader.events.filter(({ event }) => !["stream.opened", "presence"].includes(event));
      const end = all.findIndex(({ event }) => event === "turn.completed");
      return all.slice(0, end + 1).map(({ id, event }) => `${id} ${event}`);
    };
    expect(cut.reconnects).toBeGreaterThanOrEqual(3);
    expect(told(cut)).toEqual(told(whole));
  });

  it("begins anywhere in the stored history, and says so when it does not know the place", async () => {
    const [id, other] = [await newSession(), await newSession()];
    await say(id, "[[echo one]]");
    await say(id, "[[echo two]]");
    await say(other, "[[echo elsewhere]]");
    const all = await history(id);
    const third = String(all[2]?.id);
    const foreign = String((await history(other))[2]?.id);
    await using behind = readStream(streamOf("alice", id), { from: third });
    await behind.until("the rest", () => behind.joined.length >= all.length - 3);
    expect(ids(behind.joined)).toEqual(ids(all).slice(3));
    expect(behind.events.some(({ event }) => event === "stream.rewind")).toBe(false);
    for (const from of [foreign, "never-heard-of", `${foreign}.${foreign}.abcdef01.17`]) {
      await using lost = readStream(streamOf("alice", id), { from });
      await lost.until("all", () => lost.joined.length >= all.length);
      expect(lost.events[1]).toMatchObject({ event: "stream.rewind", data: { to: "start" } });
      expect(ids(lost.joined)).toEqual(ids(all));
    }
    expect((await streamOf("alice", id)("no id!", AbortSignal.timeout(5_000))).status).toBe(400);
  });

  it("wakes no session, and goes on when it is woken in another runtime", async () => {
    const id = await newSession();
    await say(id, "[[echo before]]");
    const row = await squadron.node.store.sessions.byPublicId(id, "acme", "alice");
    const host = () => squadron.node.gateway.services.hosts.find(row?.id ?? "");
    await using reader = readStream(streamOf("alice", id), { from: "start" });
    await opened(reader);
    killRuntimes();
    await eventually(() => host()?.life !== "live", { what: "the session has left its runtime" });
    await using second = readStream(streamOf("alice", id), { from: "start" });
    await second.until("the history", () => second.joined.length >= 5);
    expect(host()?.life ?? "hibernated").toBe("hibernated");
    await say(id, "[[echo after]]");
    const all = await history(id);
    for (const one of [reader, second]) {
      await one.until("all", () => one.joined.length >= all.length);
      expect(ids(one.joined)).toEqual(ids(all));
      expect(one.reconnects).toBe(0);
    }
  });

  it("takes back what its reader has seen of a turn that its runtime took with it", async () => {
    const client = squadron.client("alice");
    const session = await client.createSession({ onPermissionRequest: approveAll, streaming: true });
    const sessions = (await httpOf(squadron).call("alice", "GET", "/v1/sessions?limit=1")).body.sessions;
    const id = String((sessions as { id: string }[])[0]?.id);
    await session.sendAndWait({ prompt: "[[echo first]]" });
    await using reader = readStream(streamOf("alice", id), { from: "start" });
    await session.send({ prompt: "[[hold dying]] never said" });
    await reader.until("the second question", () =>
      reader.joined.some(({ data }) => JSON.stringify(data).includes("never said")),
    );
    killRuntimes();
    await reader.until("the rewind", () => reader.events.some(({ event }) => event === "stream.rewind"));
    await reader.until("its end", () => reader.events.some(({ event }) => event === "turn.interrupted"));
    await say(id, "[[echo third]]");
    const all = await history(id);
    await reader.until("all", () => reader.joined.length >= all.length);
    expect(ids(reader.joined)).toEqual(ids(all));
    expect(JSON.stringify(reader.joined)).not.toContain("never said");
  });

  it("has what a session says as its last client leaves, though no runtime tells it", async () => {
    const client = squadron.client("alice");
    const session = await client.createSession({ onPermissionRequest: approveAll });
    const sessions = (await httpOf(squadron).call("alice", "GET", "/v1/sessions?limit=1")).body.sessions;
    const id = String((sessions as { id: string }[])[0]?.id);
    await session.sendAndWait({ prompt: "[[echo one]]" });
    await using reader = readStream(streamOf("alice", id), { from: "start" });
    await session.disconnect();
    const asleep = (one: StreamReader) => () => one.joined.at(-1)?.type === "session.shutdown";
    await reader.until("the end", asleep(reader));
    await using late = readStream(streamOf("alice", id), { from: "start" });
    await late.until("the end", asleep(late));
    const again = await client.resumeSession(session.sessionId, { onPermissionRequest: approveAll });
    await again.sendAndWait({ prompt: "[[echo two]]" });
    const all = await history(id);
    for (const one of [reader, late]) {
      await one.until("all", () => one.joined.length >= all.length);
      expect(ids(one.joined)).toEqual(ids(all));
      expect(one.reconnects).toBe(0);
    }
  });

  it("follows a history that is cut", async () => {
    const client = squadron.client("alice");
    const session = await client.createSession({ onPermissionRequest: approveAll });
    const sessions = (await httpOf(squadron).call("alice", "GET", "/v1/sessions?limit=1")).body.sessions;
    const id = String((sessions as { id: string }[])[0]?.id);
    await using reader = readStream(streamOf("alice", id), { from: "start" });
    for (const prompt of ["[[echo one]]", "[[echo two]]"]) await session.sendAndWait({ prompt });
    const questions = (await history(id)).filter(({ type }) => type === "user.message");
    await session.rpc.history.truncate({ eventId: String(questions[1]?.id) });
    await session.sendAndWait({ prompt: "[[echo three]]" });
    const all = await history(id);
    expect(JSON.stringify(all)).not.toContain("two");
    await reader.until("all", () => ids(reader.joined).at(-1) === ids(all).at(-1));
    expect(ids(reader.joined)).toEqual(ids(all));
  });

  it("is nobody else's, and ends when the session is deleted", async () => {
    const id = await newSession();
    for (const user of ["bob", "carol", "admin"] as const) {
      const refused = await streamOf(user, id)(undefined, AbortSignal.timeout(5_000));
      const none = await streamOf(user, "ses_none")(undefined, AbortSignal.timeout(5_000));
      expect([refused.status, none.status]).toEqual([404, 404]);
      expect(await refused.json()).toMatchObject({ code: "session_not_found" });
    }
    await using reader = readStream(streamOf("alice", id));
    await opened(reader);
    expect((await httpOf(squadron).call("alice", "DELETE", `/v1/sessions/${id}`)).status).toBe(204);
    await reader.until("the refusal", () => reader.status === 410);
    expect(reader.events.at(-1)).toMatchObject({ event: "stream.closed", data: { code: "session_deleted" } });
  });

  it("ends when the key that opened it is revoked", async () => {
    const id = await newSession();
    const made = await httpOf(squadron).call("admin", "POST", "/v1/admin/keys", {
      tenant: "acme",
      user: "alice",
    });
    await using reader = readStream(streamOf("alice", id, String(made.body.key)));
    await opened(reader);
    await httpOf(squadron).call("admin", "DELETE", `/v1/admin/keys/${made.body.id}`);
    await reader.until("the refusal", () => reader.status === 401);
    expect(reader.events.at(-1)).toMatchObject({ event: "stream.closed", data: { code: "unauthenticated" } });
  });

  it("opens with a ticket instead of a key, again after a cut, and only that stream", async () => {
    const [id, other] = [await newSession(), await newSession()];
    const issue = (user: UserName) =>
      httpOf(squadron).call(user, "POST", `/v1/sessions/${id}/events/ticket`, {});
    expect((await issue("bob")).status).toBe(404);
    const { status, body } = await issue("alice");
    expect(status).toBe(201);
    const open: OpenStream = (lastId, signal) =>
      fetch(`${squadron.baseUrl}${body.url}`, {
        signal,
        ...(lastId !== undefined && { headers: { "last-event-id": lastId } }),
      });
    await using reader = readStream(open, { from: "start" });
    await opened(reader);
    await say(id, "[[echo one]]");
    reader.drop();
    await say(id, "[[echo two]]");
    const all = await history(id);
    await reader.until("all", () => reader.joined.length >= all.length);
    expect(ids(reader.joined)).toEqual(ids(all));
    const elsewhere = `${squadron.baseUrl}/v1/sessions/${other}/events?ticket=${body.ticket}`;
    expect((await fetch(elsewhere)).status).toBe(401);
    const asKey = { headers: { authorization: `Bearer ${body.ticket}` } };
    expect((await fetch(`${squadron.baseUrl}/v1/me`, asKey)).status).toBe(401);
    expect((await fetch(`${squadron.baseUrl}/v1/sessions/${id}/events`)).status).toBe(401);
  });
});

describe("a node that ends", () => {
  it("tells its readers, who go on with the next one", async () => {
    const first = await startTestNode({ isolation: "shared" });
    const before = squadron;
    squadron = first;
    try {
      const id = await newSession();
      await using reader = readStream(streamOf("alice", id), { from: "start" });
      await opened(reader);
      await say(id, "[[echo one]]");
      await first.node.close();
      await reader.until("the end", () => reader.events.at(-1)?.event === "stream.closed");
      expect(reader.events.at(-1)).toMatchObject({ data: { code: "draining" } });
      await using next = await startTestNode({
        isolation: "shared",
        directory: first.directory,
        model: first.model,
      });
      squadron = next;
      await say(id, "[[echo two]]");
      const all = await history(id);
      await reader.until("all", () => reader.joined.length >= all.length);
      expect(ids(reader.joined)).toEqual(ids(all));
      expect(reader.events.some(({ event }) => event === "stream.rewind")).toBe(false);
    } finally {
      squadron = before;
      await first.stop();
    }
  });
});
