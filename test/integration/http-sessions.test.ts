import { connect } from "node:net";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type HttpAnswer, httpOf } from "../support/http-client.ts";
import { startTestNode, type TestNode, type UserName } from "../support/test-node.ts";
import { eventually, within } from "../support/wait.ts";

let squadron: TestNode;
beforeAll(async () => {
  squadron = await startTestNode({ isolation: "shared" });
});
afterAll(async () => {
  await squadron?.stop();
});

const call = (user: UserName, method: string, path: string, body?: unknown): Promise<HttpAnswer> =>
  httpOf(squadron).call(user, method, path, body);
const events = (id: string, prompt: string) =>
  httpOf(squadron).events("alice", `/v1/sessions/${id}/messages`, { prompt });
const say = (id: string, prompt: string, query = "") =>
  call("alice", "POST", `/v1/sessions/${id}/messages${query}`, { prompt });

const newSession = async (user: UserName, body: unknown = {}): Promise<string> => {
  const made = await call(user, "POST", "/v1/sessions", body);
  expect(made.status, JSON.stringify(made.body)).toBe(201);
  return String(made.body.id);
};

const history = async (id: string): Promise<readonly string[]> => {
  const { body } = await call("alice", "GET", `/v1/sessions/${id}/messages?limit=500`);
  return (body.messages as { role: string; content: string }[]).map(
    ({ role, content }) => `${role}: ${content}`,
  );
};

describe("a session", () => {
  test("is made, listed, described, renamed, titled and deleted", async () => {
    const id = await newSession("alice", { name: "first", systemMessage: "You know the word xyzzy." });
    expect(id).toMatch(/^ses_[0-9a-f]{32}$/);
    const answer = await say(id, "[[knows xyzzy]]");
    expect(answer).toMatchObject({
      status: 200,
      body: {
        content: "yes",
        turnId: expect.any(String),
        usage: { inputTokens: expect.any(Number), outputTokens: expect.any(Number) },
      },
    });
    const list = await call("alice", "GET", "/v1/sessions?limit=200&state=live");
    expect(list.body.sessions).toContainEqual(
      expect.objectContaining({ id, name: "first", state: "live", role: "owner" }),
    );
    const changed = await call("alice", "PATCH", `/v1/sessions/${id}`, { name: "second", title: "A talk" });
    expect(changed).toMatchObject({ status: 200, body: { id, name: "second", title: "A talk" } });
    expect((await say(id, "[[count]]")).body.content).toBe("2");
    expect((await call("alice", "GET", `/v1/sessions/${id}`)).body).toMatchObject({
      name: "second",
      title: "A talk",
    });
    expect((await call("alice", "DELETE", `/v1/sessions/${id}`)).status).toBe(204);
    for (const [method, path] of [
      ["GET", ""],
      ["DELETE", ""],
      ["POST", "/abort"],
      ["GET", "/messages"],
    ] as const) {
      expect(await call("alice", method, `/v1/sessions/${id}${path}`)).toMatchObject({
        status: 410,
        body: { code: "session_deleted" },
      });
    }
  });

  test("of one name is made once, however many ask at once", async () => {
    const answers = await Promise.all(
      Array.from({ length: 10 }, () => call("alice", "POST", "/v1/sessions", { name: "only" })),
    );
    const made = answers.filter(({ status }) => status === 201);
    expect(made).toHaveLength(1);
    for (const { status, body } of answers.filter((answer) => answer !== made[0])) {
      expect({ status, body }).toMatchObject({
        status: 409,
        body: { code: "name_taken", details: { id: made[0]?.body.id } },
      });
    }
    const other = await newSession("alice", { name: "other" });
    expect(await call("alice", "PATCH", `/v1/sessions/${other}`, { name: "only" })).toMatchObject({
      status: 409,
      body: { code: "name_taken", details: { id: made[0]?.body.id } },
    });
    expect(await newSession("bob", { name: "only" })).not.toBe(made[0]?.body.id);
  });

  test("of somebody else cannot be told from one that does not exist", async () => {
    const foreign = await newSession("alice");
    const absent = `ses_${"0".repeat(32)}`;
    const requests = [
      ["GET", ""],
      ["PATCH", "", { name: "mine" }],
      ["DELETE", ""],
      ["GET", "/messages"],
      ["POST", "/messages", { prompt: "hello" }],
      ["POST", "/messages?wait=false", { prompt: "hello" }],
      ["POST", "/abort"],
    ] as const;
    for (const user of ["bob", "carol", "admin"] as const) {
      for (const [method, path, body] of requests) {
        const [seen, unseen] = await Promise.all(
          [foreign, absent].map(async (id) => {
            const answer = await call(user, method, `/v1/sessions/${id}${path}`, body);
            const { requestId, ...rest } = answer.body;
            return { status: answer.status, text: JSON.stringify(rest).replaceAll(id, "ID"), requestId };
          }),
        );
        expect(seen?.status).toBe(404);
        expect(seen?.text).toBe(unseen?.text);
        expect(seen?.text).toContain("session_not_found");
      }
      expect(JSON.stringify((await call(user, "GET", "/v1/sessions")).body)).not.toContain(foreign);
    }
    expect((await say(foreign, "[[count]]")).body.content).toBe("1");
  });

  test("is listed page by page, each once", async () => {
    const ids = new Set(await Promise.all(Array.from({ length: 5 }, () => newSession("carol"))));
    const seen: string[] = [];
    let next = "";
    do {
      const page = await call(
        "carol",
        "GET",
        `/v1/sessions?limit=2${next === "" ? "" : `&cursor=${encodeURIComponent(next)}`}`,
      );
      seen.push(...(page.body.sessions as { id: string }[]).map(({ id }) => id));
      next = typeof page.body.next === "string" ? page.body.next : "";
    } while (next !== "");
    expect(seen).toHaveLength(5);
    expect(new Set(seen)).toEqual(ids);
  });
});

describe("messages", () => {
  test("20 at once get each its own answer, one after the other", async () => {
    const id = await newSession("alice");
    const answers = await Promise.all(
      Array.from({ length: 20 }, (_, at) => say(id, `[[echo answer-${at}.]] [[count]]`)),
    );
    const counts = answers.map(({ status, body }, at) => {
      expect(status, JSON.stringify(body)).toBe(200);
      expect(body.content).toContain(`answer-${at}.`);
      return Number(/\d+$/.exec(String(body.content))?.[0]);
    });
    expect(counts.toSorted((a, b) => a - b)).toEqual(Array.from({ length: 20 }, (_, at) => at + 1));
    expect(new Set(answers.map(({ body }) => body.turnId)).size).toBe(20);
    expect(squadron.node.gateway.connections).toBe(0);
  });

  test("the history has them in order, by pages, as messages and as events", async () => {
    const id = await newSession("alice");
    for (const word of ["one", "two", "three"]) await say(id, `[[echo ${word}]]`);
    expect(await history(id)).toEqual(
      ["one", "two", "three"].flatMap((word) => [`user: [[echo ${word}]]`, `assistant: ${word}`]),
    );
    const first = await call("alice", "GET", `/v1/sessions/${id}/messages?limit=4`);
    expect(first.body.messages).toHaveLength(4);
    const rest = await call("alice", "GET", `/v1/sessions/${id}/messages?limit=4&cursor=${first.body.next}`);
    expect(rest.body).toMatchObject({ messages: [{ content: "[[echo three]]" }, { content: "three" }] });
    expect(rest.body.next).toBeUndefined();
    const all = await call("alice", "GET", `/v1/sessions/${id}/messages?view=events&limit=500`);
    const types = (all.body.events as { type: string }[]).map(({ type }) => type);
    expect(types).toEqual(expect.arrayContaining(["session.start", "user.message", "assistant.message"]));
  });

  test("wait=false answers at once, and the turn runs", async () => {
    const id = await newSession("alice");
    const taken = await say(id, "[[echo later]]", "?wait=false");
    expect(taken).toMatchObject({ status: 202, body: { turnId: expect.any(String) } });
    await eventually(async () => (await history(id)).includes("assistant: later"), {
      what: "the answer is in the history",
    });
  });

  test("the turn goes on when its client goes away", async () => {
    const id = await newSession("alice");
    const client = new AbortController();
    const gone = squadron.fetch("alice", `/v1/sessions/${id}/messages`, {
      method: "POST",
      body: JSON.stringify({ prompt: "[[hold away]] [[echo said anyway]]" }),
      signal: client.signal,
    });
    await eventually(() => squadron.model.holding("away") > 0, { what: "the model is answering" });
    client.abort();
    await expect(gone).rejects.toThrow();
    await eventually(() => squadron.node.gateway.connections === 0, {
      what: "the request's connection is closed",
    });
    squadron.model.release("away");
    await eventually(async () => (await history(id)).includes("assistant: said anyway"), {
      what: "the answer is in the history",
    });
  });

  test("a blob goes with a message; a file of the host does not", async () => {
    const id = await newSession("alice");
    const blob = {
      type: "blob",
      data: Buffer.from("hello").toString("base64"),
      mimeType: "text/plain",
      displayName: "a.txt",
    };
    const sent = await call("alice", "POST", `/v1/sessions/${id}/messages`, {
      prompt: "[[count]]",
      attachments: [blob],
    });
    expect(sent).toMatchObject({ status: 200, body: { content: "1" } });
    const file = await call("alice", "POST", `/v1/sessions/${id}/messages`, {
      prompt: "x",
      attachments: [{ type: "file", path: "/etc/passwd" }],
    });
    expect(file).toMatchObject({ status: 400, body: { code: "invalid_request" } });
  });
});

describe("a stream", () => {
  test("has the growing answer and ends with the whole", async () => {
    const seen = await events(await newSession("alice"), "[[tokens 5]]");
    expect(seen[0]).toMatchObject({ event: "turn.accepted", data: { turnId: expect.any(String) } });
    expect(seen.map(({ event }) => event)).toEqual(
      expect.arrayContaining(["user.message", "assistant.message", "session.idle"]),
    );
    const deltas = seen.filter(({ event }) => event === "assistant.message_delta");
    expect(deltas.map(({ data }) => (data.data as { deltaContent: string }).deltaContent).join("")).toBe(
      "t1 t2 t3 t4 t5",
    );
    expect(seen.at(-1)).toMatchObject({
      event: "turn.completed",
      data: { turnId: seen[0]?.data.turnId, content: "t1 t2 t3 t4 t5", usage: { outputTokens: 5 } },
    });
  });

  test("of a turn that waits has nothing of the turns before it", async () => {
    const id = await newSession("alice");
    const before = say(id, "[[hold before]] [[echo noise]]");
    await eventually(() => squadron.model.holding("before") > 0, { what: "the first turn runs" });
    const seen = events(id, "[[echo signal]]");
    const { hosts } = squadron.node.gateway;
    await eventually(() => hosts.some(({ attachments }) => attachments.length === 2), {
      what: "both are attached",
    });
    squadron.model.release("before");
    expect(JSON.stringify((await seen).filter(({ event }) => !event.startsWith("model.")))).not.toContain(
      "noise",
    );
    expect((await seen).at(-1)).toMatchObject({ event: "turn.completed", data: { content: "signal" } });
    expect((await before).body.content).toBe("noise");
  });

  test("ends with turn.failed when the model fails; waiting says 502", async () => {
    const id = await newSession("alice");
    expect((await events(id, "[[fail 400]]")).at(-1)).toMatchObject({
      event: "turn.failed",
      data: { code: "turn_failed" },
    });
    expect(await say(id, "[[fail 400]]")).toMatchObject({ status: 502, body: { code: "turn_failed" } });
    expect((await say(id, "[[echo fine again]]")).body.content).toBe("fine again");
  });

  test("ends with turn.aborted when somebody aborts; waiting says 409", async () => {
    const id = await newSession("alice");
    expect((await call("alice", "POST", `/v1/sessions/${id}/abort`)).body).toEqual({
      aborted: false,
      turns: [],
    });
    const ends = [
      {
        hold: "abort-1",
        turn: () => events(id, "[[hold abort-1]] [[tokens 3]]"),
        check: (seen: unknown) =>
          expect((seen as unknown[]).at(-1)).toMatchObject({
            event: "turn.aborted",
            data: { code: "turn_aborted" },
          }),
      },
      {
        hold: "abort-2",
        turn: () => say(id, "[[hold abort-2]] [[tokens 3]]"),
        check: (seen: unknown) => expect(seen).toMatchObject({ status: 409, body: { code: "turn_aborted" } }),
      },
    ];
    for (const { hold, turn, check } of ends) {
      const seen = turn();
      await eventually(() => squadron.model.holding(hold) > 0, { what: "the turn runs" });
      expect((await call("alice", "POST", `/v1/sessions/${id}/abort`)).body).toEqual({
        aborted: true,
        turns: [expect.any(String)],
      });
      check(await within<unknown>(seen, { what: "the turn ends" }));
    }
  });

  test("ends with turn.interrupted when the runtime dies; the next message wakes the session", async () => {
    const id = await newSession("alice", { systemMessage: "You know plugh." });
    await say(id, "[[echo kept]]");
    const streamed = events(id, "[[hold die]] [[tokens 3]]");
    await eventually(() => squadron.model.holding("die") > 0, { what: "the turn runs" });
    await squadron.node.fleet.release("shared");
    expect((await within(streamed, { what: "the stream ends" })).at(-1)).toMatchObject({
      event: "turn.interrupted",
      data: { code: "turn_interrupted" },
    });
    expect((await say(id, "[[knows plugh]]")).body.content).toBe("yes");
    expect(await history(id)).toContain("assistant: kept");
  });

  test("that nobody reads is cut, told why, and does not hold up the turn", async () => {
    const id = await newSession("alice");
    const body = JSON.stringify({ prompt: "[[tokens 25000]]" });
    const socket = connect(squadron.node.http.port, "127.0.0.1");
    socket.pause();
    socket.write(
      `POST /v1/sessions/${id}/messages HTTP/1.0\r\nAuthorization: Bearer key-alice\r\nAccept: text/event-stream\r\n` +
        `Content-Type: application/json\r\nContent-Length: ${body.length}\r\n\r\n${body}`,
    );
    const { gateway } = squadron.node;
    await eventually(() => gateway.connections > 0, { what: "the request is served" });
    await eventually(() => gateway.connections === 0, { what: "the client is cut", deadlineMs: 30_000 });
    let text = "";
    for await (const chunk of socket) text += String(chunk);
    expect(text).toMatch(/event: stream\.closed\ndata: {"code":"slow_consumer"/);
    expect(text).not.toContain("turn.completed");
    await eventually(async () => (await history(id)).some((line) => line.endsWith("t25000")), {
      what: "the answer is in the history",
    });
  });
});
