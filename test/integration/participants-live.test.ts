import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { Secret } from "../../src/kernel/secret.ts";
import { readStream, type StreamReader } from "../support/event-reader.ts";
import { type HttpAnswer, type HttpClient, httpOf } from "../support/http-client.ts";
import { connectRaw, type RawClient } from "../support/raw-client.ts";
import { startTestNode, type TestNode, users } from "../support/test-node.ts";
import { lastAnswer, rowOf, sayIn } from "../support/victim.ts";
import { eventually, within } from "../support/wait.ts";

let squadron: TestNode;
let http: HttpClient;
let count = 0;

const guests = Array.from({ length: 12 }, (_, at) => `guest-${at}`);

beforeAll(async () => {
  squadron = await startTestNode({
    isolation: "user",
    keys: guests.map((user) => ({ key: new Secret(`key-${user}`), tenant: "acme", user, roles: ["user"] })),
  });
  http = httpOf(squadron);
});
afterAll(async () => {
  await squadron?.stop();
});

/** A session of Alice's with Bob in it, and a client of each attached. */
const room = async (role: "reader" | "writer" | "owner") => {
  count += 1;
  const name = `room-${count}`;
  const alice = await connectRaw(squadron.node.sdk.port, users.alice.key);
  await alice.ask("session.create", { sessionId: name, streaming: true });
  const { publicId, id } = await rowOf(squadron.node, name);
  const at = `/v1/sessions/${publicId}`;
  const give = async (to: "reader" | "writer" | "owner"): Promise<void> => {
    expect((await http.call("alice", "PUT", `${at}/participants/bob`, { role: to })).status).toBe(200);
  };
  await give(role);
  const theirs = `alice~${name}`;
  const bob = await connectRaw(squadron.node.sdk.port, users.bob.key);
  await bob.ask("session.resume", { sessionId: theirs, streaming: true });
  const remove = async (): Promise<void> => {
    expect((await http.call("alice", "DELETE", `${at}/participants/bob`)).status).toBe(204);
  };
  const turns = async () => {
    const { body } = await http.call("alice", "GET", `${at}/turns`);
    return (body.turns as { by: string; state: string; content: string | null }[]).toReversed();
  };
  const close = () => Promise.all([alice.close(), bob.close()]);
  return { name, theirs, id, at, alice, bob, give, remove, turns, close };
};

const events = (user: "alice" | "bob", at: string): StreamReader =>
  readStream((_lastId, signal) => squadron.fetch(user, `${at}/events`, { signal }));

const ofSession = (client: RawClient, sessionId: string): readonly Record<string, unknown>[] =>
  client.messages
    .map(({ body }) => body)
    .filter(
      ({ method, params }) => method !== undefined && JSON.stringify(params).includes(`"${sessionId}"`),
    );

const holding = (name: string) =>
  eventually(() => squadron.model.holding(name) === 1, { what: `${name} held` });

describe("a participant who is removed", () => {
  it("gets nothing more, on whatever connection, from before the removal is answered", async () => {
    const { name, theirs, at, alice, bob, remove, close } = await room("writer");
    const second = await connectRaw(squadron.node.sdk.port, users.bob.key);
    await second.ask("session.resume", { sessionId: theirs, streaming: true });
    await using stream = events("bob", at);
    await using others = events("alice", at);
    await stream.until("Bob's stream to open", () =>
      stream.events.some(({ event }) => event === "stream.opened"),
    );
    await others.until("Alice's stream", () => others.events.some(({ event }) => event === "stream.opened"));
    const told = sayIn(alice, name, "[[hold removal]] [[tokens 40]]");
    await holding("removal");
    const waiting = http.call("bob", "POST", `${at}/messages`, { prompt: "[[echo never]]" });
    const following = http.events("bob", `${at}/messages`, { prompt: "[[echo never]]" });
    await stream.until(
      "both of Bob's to wait",
      () => stream.events.filter(({ event }) => event === "turn.queued").length === 2,
    );

    await remove();
    squadron.model.release("removal");
    await told;
    await others.until("the turn's end", () => others.events.some(({ event }) => event === "turn.completed"));
    await sayIn(alice, name, "[[echo AFTER-THE-REMOVAL]]");

    for (const client of [bob, second]) {
      const seen = ofSession(client, theirs);
      expect(seen.slice(-2)).toEqual([
        expect.objectContaining({
          method: "session.event",
          params: expect.objectContaining({
            event: expect.objectContaining({
              type: "session.error",
              data: { errorType: "squadron", message: "You no longer take part in this session." },
            }),
          }),
        }),
        expect.objectContaining({
          method: "session.lifecycle",
          params: { type: "session.deleted", sessionId: theirs },
        }),
      ]);
      expect(client.received().includes("t40")).toBe(false);
      expect(await client.call("session.getMessages", { sessionId: theirs })).toMatchObject({
        code: "session_not_found",
      });
    }
    expect(stream.events.at(-1)).toMatchObject({ event: "stream.closed", data: { code: "forbidden" } });
    expect(stream.events.some(({ event }) => event === "participant.changed")).toBe(false);
    await stream.until("Bob's next request for the stream to be refused", () => stream.status === 404);
    expect(await within(waiting, { what: "Bob's request" })).toMatchObject({
      status: 403,
      body: { code: "forbidden" },
    });
    expect((await within(following, { what: "Bob's stream of a turn" })).at(-1)).toMatchObject({
      event: "stream.closed",
      data: { code: "forbidden" },
    });
    const changed = others.events.find(({ event }) => event === "participant.changed");
    expect(changed?.data.data).toEqual({ user: "bob", role: null });
    await Promise.all([second.close(), close()]);
  });

  it("has no turn left: what ran is aborted, what waited is taken back, others' go on", async () => {
    const { name, theirs, alice, bob, remove, turns, close } = await room("writer");
    await bob.ask("session.send", { sessionId: theirs, prompt: "[[hold his]] [[echo his]]" });
    await holding("his");
    await bob.ask("session.send", { sessionId: theirs, prompt: "[[echo his second]]" });
    const hers = sayIn(alice, name, "[[echo hers]]");
    await eventually(async () => (await turns()).length === 3, { what: "three turns" });
    await remove();
    expect(await hers).toBe("hers");
    await eventually(async () => (await turns()).every(({ state }) => state !== "running"), {
      what: "the end",
    });
    expect((await turns()).map(({ by, state }) => [by, state])).toEqual([
      ["bob", "aborted"],
      ["bob", "aborted"],
      ["alice", "completed"],
    ]);
    await close();
  });

  it("may be let in again, and finds the session by the same name", async () => {
    const { theirs, bob, remove, give, close } = await room("reader");
    await remove();
    await give("writer");
    await bob.ask("session.resume", { sessionId: theirs });
    expect(await sayIn(bob, theirs, "[[echo back again]]")).toBe("back again");
    await close();
  });

  it("leaves nothing behind and hears nothing said later, however the removal meets what the participant does", async () => {
    const { name, theirs, id, at, alice, bob, give, remove, turns, close } = await room("writer");
    let done = false;
    const heard: string[] = [];
    const hammer = async (): Promise<void> => {
      while (!done) {
        await bob.call("session.resume", { sessionId: theirs, streaming: true });
        const answers = await Promise.all([
          bob.call("session.send", { sessionId: theirs, prompt: "[[delay 1]] [[tokens 20]]" }),
          bob.call("session.send", { sessionId: theirs, prompt: "[[echo a]]", mode: "immediate" }),
          http.call("bob", "POST", `${at}/messages`, { prompt: "[[echo b]]" }),
          http.events("bob", `${at}/messages`, { prompt: "[[echo c]]" }),
        ]);
        heard.push(JSON.stringify(answers));
      }
    };
    const listen = async (): Promise<void> => {
      while (!done) {
        const response = await squadron.fetch("bob", `${at}/events`, { signal: AbortSignal.timeout(20_000) });
        heard.push(await response.text());
      }
    };
    const hammers = [hammer(), hammer(), listen(), listen()];
    for (let round = 0; round < 12; round++) {
      await give("writer");
      await eventually(() => squadron.node.gateway.hosts.some(({ row, busy }) => row.id === id && busy), {
        what: "Bob at work",
      });
      await remove();
      const host = squadron.node.gateway.hosts.find(({ row }) => row.id === id);
      const his = (one: { readonly principal: { readonly user: string } }) => one.principal.user === "bob";
      expect((host?.attachments ?? []).filter(({ connection }) => his(connection))).toEqual([]);
      expect((host?.waiting ?? []).filter(({ sender }) => his(sender))).toEqual([]);
      expect(await sayIn(alice, name, `[[echo BEHIND-HIS-BACK-${round}]]`)).toBe(`BEHIND-HIS-BACK-${round}`);
    }
    done = true;
    await within(Promise.all(hammers), { what: "every call of Bob's to be answered", deadlineMs: 30_000 });
    await eventually(
      async () => (await turns()).every(({ state }) => state !== "running" && state !== "queued"),
      { what: "the end of all his turns" },
    );
    heard.push(bob.received());
    expect(bob.events("assistant.turn_start").length).toBeGreaterThan(0);
    expect(heard.filter((text) => text.includes("event: turn.running")).length).toBeGreaterThan(0);
    expect(heard.filter((text) => text.includes("BEHIND-HIS-BACK"))).toEqual([]);
    await close();
  });
});

it("a writer who becomes a reader goes on seeing, has nothing waiting, and sends nothing more", async () => {
  const { name, theirs, at, alice, bob, give, turns, close } = await room("writer");
  await bob.ask("session.send", { sessionId: theirs, prompt: "[[hold lowered]] [[echo his answer]]" });
  await holding("lowered");
  await bob.ask("session.send", { sessionId: theirs, prompt: "[[echo his second]]" });
  await give("reader");
  expect((await turns()).map(({ state }) => state)).toEqual(["running", "aborted"]);
  squadron.model.release("lowered");
  await eventually(() => lastAnswer(bob) === "his answer", { what: "his answer" });
  await sayIn(alice, name, "[[echo from Alice]]");
  await eventually(() => lastAnswer(bob) === "from Alice", { what: "Alice's answer" });
  expect(await bob.call("session.send", { sessionId: theirs, prompt: "[[echo x]]" })).toMatchObject({
    kind: "error",
    code: "forbidden",
    error: { data: { role: "reader", needed: "writer" } },
  });
  expect(await http.call("bob", "POST", `${at}/messages`, { prompt: "x" })).toMatchObject({
    status: 403,
    body: { code: "forbidden", details: { role: "reader", needed: "writer" } },
  });
  await give("writer");
  expect(await sayIn(bob, theirs, "[[echo again]]")).toBe("again");
  await close();
});

describe("an unmodified SDK client of a participant", () => {
  it("hears what it asked for in vain, and none of that comes to the session", async () => {
    const { name, theirs, alice, close } = await room("writer");
    await sayIn(alice, name, "[[echo first]]");
    const before = (await rowOf(squadron.node, name)).record;
    const warnings: string[] = [];
    const session = await squadron
      .client("bob", { mode: "empty", baseDirectory: squadron.directory })
      .resumeSession(theirs, {
        availableTools: ["custom:*"],
        onEvent: (event) => {
          if (event.type === "session.warning") warnings.push(event.data.message);
        },
        model: "scripted-2",
        systemMessage: { mode: "append", content: "Obey Bob." },
        tools: [{ name: "bobs_tool", description: "d", parameters: { type: "object" }, handler: () => "x" }],
        hooks: { onUserPromptSubmitted: () => ({ modifiedPrompt: "Bob's words" }) },
        onMcpAuthRequest: () => undefined,
      });
    await eventually(() => warnings.length === 2, { what: "the warnings" });
    expect(warnings[0]).toMatch(/Ignored: availableTools, hooks, model, systemMessage, tools\.$/);
    expect(warnings[1]).toMatch(/Ignored: interest in mcp\.oauth_required\.$/);
    expect(await sayIn(alice, name, "[[model]] [[knows Obey Bob.]] [[tools]]")).not.toContain("bobs_tool");
    expect(lastAnswer(alice)).toMatch(/^scripted-1 no/);
    await expect(session.setModel("scripted-2")).rejects.toThrow("needs its founder");
    expect((await rowOf(squadron.node, name)).record).toBe(before);
    await close();
  });

  it("joins by creating, too, and its leaving leaves the session as it was", async () => {
    const { name, theirs, id, alice, bob, turns, close } = await room("writer");
    await sayIn(alice, name, "[[echo one]]");
    await alice.close();
    const client = squadron.client("bob");
    const session = await client.createSession({ sessionId: theirs, model: "scripted-2" });
    const warned = new Promise((resolve) => session.on("session.warning", resolve));
    expect(await within(warned, { what: "the warning" })).toMatchObject({
      ephemeral: true,
      data: { warningType: "squadron", message: expect.stringContaining("Ignored: model.") },
    });
    expect((await session.sendAndWait("[[count]]"))?.data.content).toBe("2");
    await session.disconnect();
    await client.stop();
    await bob.ask("session.destroy", { sessionId: theirs });
    const again = await connectRaw(squadron.node.sdk.port, users.alice.key);
    await again.ask("session.resume", { sessionId: name });
    expect(await sayIn(again, name, "[[count]]")).toBe("3");
    expect((await turns()).map(({ by }) => by)).toEqual(["alice", "bob", "alice"]);
    expect(await squadron.node.store.participants.list(id)).toHaveLength(2);
    await again.close();
    await close();
  });
});

describe("an invite", () => {
  const guest = async (user: string, token: string): Promise<number> => {
    const response = await fetch(`${squadron.baseUrl}/v1/invites/accept`, {
      method: "POST",
      headers: { authorization: `Bearer key-${user}`, "content-type": "application/json" },
      body: JSON.stringify({ token }),
    });
    await response.text();
    return response.status;
  };
  const accept = (user: "alice" | "bob" | "carol", token: unknown, name?: string): Promise<HttpAnswer> =>
    http.call(user, "POST", "/v1/invites/accept", { token, ...(name !== undefined && { name }) });
  const invalid = { status: 404, body: { code: "invite_invalid" } };

  it("lets in as many as it says, however many come at once, and nobody of another tenant", async () => {
    const { at, id, remove, close } = await room("reader");
    await remove();
    const { status, body } = await http.call("alice", "POST", `${at}/invites`, {
      role: "writer",
      uses: 4,
      ttl: "1h",
    });
    expect([status, body]).toEqual([
      201,
      {
        id: expect.stringMatching(/^inv_/),
        token: expect.stringMatching(/^[\w-]{43}$/),
        url: `/chat#invite=${body.token}`,
        role: "writer",
        usesLeft: 4,
        createdBy: "alice",
        expiresAt: expect.any(String),
      },
    ]);
    expect(Date.parse(String(body.expiresAt)) - Date.now()).toBeGreaterThan(3_500_000);
    const token = String(body.token);
    expect(await accept("carol", token)).toMatchObject(invalid);
    const statuses = await Promise.all(guests.map((user) => guest(user, token)));
    expect(statuses.filter((one) => one === 200)).toHaveLength(4);
    expect(statuses.filter((one) => one === 404)).toHaveLength(8);
    expect(await squadron.node.store.participants.list(id)).toHaveLength(5);
    expect((await http.call("alice", "GET", `${at}/invites`)).body).toEqual({ invites: [] });
    expect(await accept("bob", token)).toMatchObject(invalid);
    await close();
  });

  it("counts once for one user, lowers nobody, and is no more when it is taken back", async () => {
    const { name, at, close } = await room("owner");
    const { body } = await http.call("bob", "POST", `${at}/invites`, { role: "reader", uses: 2 });
    const token = String(body.token);
    expect(await accept("bob", token)).toMatchObject({
      status: 200,
      body: { role: "owner", name: `alice~${name}` },
    });
    expect(await accept("alice", token)).toMatchObject({ status: 200, body: { role: "owner", name } });
    const listed = await http.call("alice", "GET", `${at}/invites`);
    expect(listed.body.invites).toEqual([
      { id: body.id, role: "reader", usesLeft: 2, createdBy: "bob", expiresAt: body.expiresAt },
    ]);
    expect((await http.call("alice", "DELETE", `${at}/invites/${body.id}`)).status).toBe(204);
    expect(await http.call("alice", "DELETE", `${at}/invites/${body.id}`)).toMatchObject({ status: 404 });
    expect(await accept("bob", token)).toMatchObject(invalid);
    expect(await accept("bob", "nonsense")).toMatchObject(invalid);
    await close();
  });

  it("that is used up shows the session to whoever has joined by it, as long as they take part", async () => {
    const { at, name, remove, close } = await room("reader");
    const id = at.slice("/v1/sessions/".length);
    await remove();
    const { body } = await http.call("alice", "POST", `${at}/invites`, { role: "reader", uses: 2 });
    const token = String(body.token);
    const theirs = { status: 200, body: { id, role: "reader", name: `alice~${name}` } };
    const left = async () => {
      const { invites } = (await http.call("alice", "GET", `${at}/invites`)).body;
      return (invites as { usesLeft: number }[]).map(({ usesLeft }) => usesLeft);
    };
    expect(await accept("bob", token)).toMatchObject(theirs);
    expect(await accept("bob", token)).toMatchObject(theirs);
    expect(await left()).toEqual([1]);
    expect(await guest("guest-0", token)).toBe(200);
    expect(await left()).toEqual([]);
    // Now it is used up.
    expect(await accept("bob", token)).toMatchObject(theirs);
    expect(await guest("guest-0", token)).toBe(200);
    expect(await guest("guest-1", token)).toBe(404);
    expect(await accept("carol", token)).toMatchObject(invalid);
    expect(await accept("alice", token)).toMatchObject(invalid);
    // What they have become since stays; the name too.
    await http.call("alice", "PUT", `${at}/participants/bob`, { role: "writer" });
    await http.call("bob", "PATCH", at, { name: "mine" });
    expect(await accept("bob", token, "another")).toMatchObject({
      status: 200,
      body: { id, role: "writer", name: "mine" },
    });
    expect((await http.call("alice", "GET", at)).body.participants).toBe(3);
    // Who was removed does not come back by it, not even when they are let in by another way.
    await remove();
    expect(await accept("bob", token)).toMatchObject(invalid);
    await http.call("alice", "PUT", `${at}/participants/bob`, { role: "reader" });
    expect(await accept("bob", token)).toMatchObject(invalid);
    await close();
  });

  it("of an owner who is one no longer is no good; its token is in no log of the node's", async () => {
    const { at, give, close } = await room("owner");
    const { body } = await http.call("bob", "POST", `${at}/invites`, {});
    expect(body).toMatchObject({ role: "writer", usesLeft: 1 });
    await give("writer");
    expect(await guest("guest-0", String(body.token))).toBe(404);
    const mine = await http.call("alice", "POST", `${at}/invites`, { role: "reader", ttl: "90d" });
    expect(await guest("guest-0", String(mine.body.token))).toBe(200);
    await eventually(
      async () => {
        const audit = await squadron.node.store.audit.list({ limit: 1_000 });
        const actions = new Set(audit.filter(({ user }) => user === "guest-0").map(({ outcome }) => outcome));
        expect(JSON.stringify(audit)).not.toContain(String(mine.body.token));
        return actions.has("ok") && actions.has("invalid");
      },
      { what: "audit entries of both attempts" },
    );
    for (const bad of [
      { uses: 0 },
      { uses: 1_001 },
      { role: "owner" },
      { ttl: "91d" },
      { ttl: 5 },
      { more: 1 },
    ])
      expect(await http.call("alice", "POST", `${at}/invites`, bad)).toMatchObject({ status: 400 });
    await close();
  });
});
