import { type CopilotSession, defineTool, type PermissionRequestResult } from "@github/copilot-sdk";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { readStream, type StreamReader } from "../support/event-reader.ts";
import { type HttpAnswer, type HttpClient, httpOf } from "../support/http-client.ts";
import { startTestNode, type TestNode, type UserName } from "../support/test-node.ts";
import { eventually, within } from "../support/wait.ts";

const allow = { tools: ["custom:*", "builtin:ask_user", "builtin:create"] };

let squadron: TestNode;
let http: HttpClient;

beforeAll(async () => {
  squadron = await startTestNode({ isolation: "user", allow });
  http = httpOf(squadron);
});
afterAll(() => squadron?.stop());

interface Shown {
  readonly id: string;
  readonly kind: string;
  readonly turnId: string | null;
  readonly for: string | null;
  readonly mayAnswer: boolean;
  readonly detail: Record<string, unknown>;
}

const found = async (client: HttpClient = http): Promise<string> =>
  String((await client.call("alice", "POST", "/v1/sessions", {})).body.id);

const send = (user: UserName, id: string, prompt: string): Promise<HttpAnswer> =>
  http.call(user, "POST", `/v1/sessions/${id}/messages`, { prompt });

const openIn = async (user: UserName, id: string): Promise<readonly Shown[]> =>
  (await http.call(user, "GET", `/v1/sessions/${id}/requests`)).body.requests as readonly Shown[];

const asked = (user: UserName, id: string): Promise<Shown> =>
  eventually(async () => (await openIn(user, id))[0], { what: "the session asks something" });

const answer = (user: UserName, id: string, request: string, body: unknown): Promise<HttpAnswer> =>
  http.call(user, "POST", `/v1/sessions/${id}/requests/${request}`, body);

const follow = (user: UserName, id: string): StreamReader =>
  readStream((lastId, signal) =>
    squadron.fetch(user, `/v1/sessions/${id}/events`, {
      signal,
      headers: lastId === undefined ? {} : { "last-event-id": lastId },
    }),
  );

const followOn = (node: TestNode, id: string): StreamReader =>
  readStream((_lastId, signal) => node.fetch("alice", `/v1/sessions/${id}/events`, { signal }));

const told = (reader: StreamReader): readonly Record<string, unknown>[] =>
  reader.events
    .filter(({ event }) => event === "request.opened" || event === "request.settled")
    .map(({ event, data }) => ({ event, ...(data.data as Record<string, unknown>) }));

const problem = (status: number, code: string) => ({ status, body: expect.objectContaining({ code }) });

const askUser = '[[call ask_user {"question":"Which colour?","choices":["red","blue"]}]]';
const create = (path: string) => `[[call create ${JSON.stringify({ path, file_text: "hello" })}]]`;

describe("what a session asks, over HTTP", () => {
  it("is a question that its sender answers: the turn goes on, once, and all hear of it", async () => {
    const id = await found();
    await using reader = follow("alice", id);
    await reader.until("the stream is open", () => reader.events.length > 0);
    const message = send("alice", id, askUser);
    const question = await asked("alice", id);
    expect(question).toMatchObject({
      kind: "user_input",
      for: "alice",
      mayAnswer: true,
      detail: { question: "Which colour?", choices: ["red", "blue"] },
    });
    expect(await answer("alice", id, question.id, { answer: "blue" })).toMatchObject({
      status: 200,
      body: { id: question.id, outcome: "answered" },
    });
    expect((await message).body).toMatchObject({ content: "ask_user said: User selected: blue" });
    expect(await answer("alice", id, question.id, { answer: "red" })).toMatchObject(
      problem(409, "request_settled"),
    );
    expect(await openIn("alice", id)).toEqual([]);
    await reader.until("it is settled", () => told(reader).length === 2);
    const { id: requestId, turnId, detail } = question;
    expect(turnId).toBe((await message).body.turnId);
    expect(told(reader)).toEqual([
      {
        event: "request.opened",
        requestId,
        kind: "user_input",
        turnId,
        for: "alice",
        expiresAt: expect.any(String),
        detail,
      },
      { event: "request.settled", requestId, kind: "user_input", by: "alice", outcome: "answered" },
    ]);
  });

  it("is a permission that is denied with a reason that ends the turn, or given", async () => {
    const id = await found();
    const first = send("alice", id, create("one.txt"));
    const request = await asked("alice", id);
    expect(request).toMatchObject({
      kind: "permission",
      detail: { permissionRequest: { kind: "write", intention: "Create file" } },
    });
    for (const wrong of [{ answer: "yes" }, { decision: "maybe" }, {}, { decision: "allow", more: 1 }])
      expect(await answer("alice", id, request.id, wrong)).toMatchObject(problem(400, "invalid_request"));
    const denied = await answer("alice", id, request.id, { decision: "deny", reason: "not there" });
    expect(denied.status).toBe(200);
    expect((await first).status).toBe(200);
    const second = send("alice", id, create("two.txt"));
    const again = await asked("alice", id);
    expect(await answer("alice", id, again.id, { decision: "allow" })).toMatchObject({ status: 200 });
    expect((await second).body.content).toMatch(/^create said: Created file .*two\.txt/);
    expect(await answer("alice", id, request.id, { decision: "allow" })).toMatchObject(
      problem(409, "request_settled"),
    );
    expect(await answer("alice", id, "unknown", { decision: "allow" })).toMatchObject(
      problem(404, "not_found"),
    );
  });
});

/** What one SDK client was asked, each answered when the test says so. */
const handlers = () => {
  const calls: ((result: PermissionRequestResult) => void)[] = [];
  const inputs: ((answer: string) => void)[] = [];
  return {
    calls,
    inputs,
    config: {
      onPermissionRequest: () => new Promise<PermissionRequestResult>((resolve) => calls.push(resolve)),
      onUserInputRequest: () =>
        new Promise<{ answer: string; wasFreeform: boolean }>((resolve) =>
          inputs.push((answer) => resolve({ answer, wasFreeform: true })),
        ),
    },
  };
};

const letIn = async (id: string, user: string, role: string): Promise<void> => {
  const { status } = await http.call("alice", "PUT", `/v1/sessions/${id}/participants/${user}`, { role });
  expect(status).toBe(200);
};

const nameOf = async (user: UserName, id: string): Promise<string> =>
  String((await http.call(user, "GET", `/v1/sessions/${id}`)).body.name);

const said = async (turn: Promise<{ data: { content: string } } | undefined>): Promise<string> =>
  (await turn)?.data.content ?? "";

const audited = async (user: string): Promise<readonly Record<string, unknown>[]> => {
  const { body } = await http.call("admin", "GET", "/v1/admin/audit?limit=200");
  return (body.entries as readonly Record<string, unknown>[]).filter(
    (entry) => entry.user === user && entry.action === "request.answer",
  );
};

/** Gives an answer on purpose, as a program can that has no handler. */
const answerOverSdk = async (session: CopilotSession, requestId: string): Promise<boolean> =>
  (
    await session.rpc.permissions.handlePendingPermissionRequest({
      requestId,
      result: { kind: "approve-once" },
    })
  ).success;

describe("who may answer", () => {
  it("over HTTP: the sender and owners; readers and other writers see it and are refused, strangers see nothing", async () => {
    const id = await found();
    for (const user of ["bob", "dave", "erin"] as const)
      await letIn(id, user, user === "erin" ? "reader" : "writer");
    const message = send("bob", id, create("bobs.txt"));
    const request = await asked("bob", id);
    const may = async (user: UserName) => (await openIn(user, id))[0]?.mayAnswer;
    expect(request).toMatchObject({ for: "bob", mayAnswer: true });
    expect([await may("alice"), await may("dave"), await may("erin")]).toEqual([true, false, false]);
    for (const user of ["dave", "erin"] as const)
      expect(await answer(user, id, request.id, { decision: "allow" })).toMatchObject({
        ...problem(403, "forbidden"),
        body: { details: { role: user === "erin" ? "reader" : "writer", needed: "owner" } },
      });
    expect(await answer("carol", id, request.id, { decision: "allow" })).toMatchObject(
      problem(404, "session_not_found"),
    );
    expect(await http.call("carol", "GET", `/v1/sessions/${id}/requests`)).toMatchObject(
      problem(404, "session_not_found"),
    );
    await letIn(id, "bob", "reader");
    expect([await may("bob"), await may("alice")]).toEqual([false, true]);
    expect(await answer("bob", id, request.id, { decision: "allow" })).toMatchObject(
      problem(403, "forbidden"),
    );
    expect((await answer("alice", id, request.id, { decision: "allow" })).status).toBe(200);
    expect((await message).body.content).toMatch(/^create said: Created/);
    await eventually(async () => (await audited("dave")).length === 1, { what: "the audit has it" });
    expect(await audited("dave")).toMatchObject([{ target: id, outcome: "forbidden" }]);
    await eventually(async () => (await audited("alice")).some(({ target }) => target === id), {
      what: "the audit has the answer that counted",
    });
    expect(await audited("alice")).toContainEqual(
      expect.objectContaining({ target: id, outcome: "ok", detail: `permission ${request.id}: allow` }),
    );
  });

  it("over the SDK: the sender's client is asked, an owner's is not heard, another writer's is shown nothing", async () => {
    const id = await found();
    for (const user of ["bob", "dave"]) await letIn(id, user, "writer");
    const [alices, bobs, daves] = [handlers(), handlers(), handlers()];
    const attach = async (user: UserName, { config }: ReturnType<typeof handlers>) =>
      squadron.client(user).resumeSession(await nameOf(user, id), config);
    await attach("alice", alices);
    const bob = await attach("bob", bobs);
    const dave = await attach("dave", daves);
    const seen: string[] = [];
    dave.on(({ type }) => void seen.push(type));
    const turn = said(bob.sendAndWait({ prompt: create("sdk.txt") }));
    const { id: request } = await asked("alice", id);
    await eventually(() => bobs.calls.length === 1 && alices.calls.length === 1, { what: "they are asked" });
    expect(await answerOverSdk(dave, request)).toBe(false);
    alices.calls[0]?.({ kind: "approve-once" });
    await eventually(async () => (await audited("dave")).some(({ target }) => target === id), {
      what: "the audit has the answer of the wrong one",
    });
    expect((await openIn("alice", id)).map((one) => one.id)).toEqual([request]);
    bobs.calls[0]?.({ kind: "approve-once" });
    expect(await turn).toMatch(/^create said: Created/);
    expect([daves.calls.length, seen.includes("permission.requested")]).toEqual([0, false]);
    expect(seen).toContain("permission.completed");
    expect((await audited("bob")).filter(({ target }) => target === id)).toEqual([]);
  });

  it("of another's tool call is not decided by a writer who has a tool of that name", async () => {
    const id = await found();
    await letIn(id, "bob", "writer");
    await letIn(id, "dave", "writer");
    const ran: string[] = [];
    const tool = (user: string, result: () => Promise<string>) =>
      defineTool("lookup", {
        description: "Looks something up.",
        parameters: { type: "object", properties: {} },
        skipPermission: true,
        handler: () => {
          ran.push(user);
          return result();
        },
      });
    const { promise: never } = Promise.withResolvers<string>();
    const attach = async (user: UserName, result: () => Promise<string>) =>
      squadron.client(user).resumeSession(await nameOf(user, id), { tools: [tool(user, result)] });
    await attach("alice", () => never);
    const dave = await attach("dave", async () => "wrong");
    const message = send("bob", id, "[[call lookup {}]]");
    const request = await asked("bob", id);
    expect(request).toMatchObject({
      kind: "tool_call",
      for: "bob",
      detail: { toolName: "lookup", sessionId: id },
    });
    const wrong = { requestId: request.id, result: "wrong" };
    expect(await dave.rpc.tools.handlePendingToolCall(wrong)).toEqual({ success: false });
    expect((await answer("bob", id, request.id, { result: { found: 7 } })).status).toBe(200);
    expect((await message).body.content).toBe('lookup said: {"found":7}');
    expect(ran).toEqual(["alice"]);
  });
});

describe("the first answer", () => {
  it("counts, whichever door it comes through, also when two cross", async () => {
    const id = await found();
    await letIn(id, "bob", "writer");
    const bobs = handlers();
    const bob = await squadron.client("bob").resumeSession(await nameOf("bob", id), bobs.config);
    await using reader = follow("alice", id);
    await reader.until("the stream is open", () => reader.events.length > 0);
    const winners: string[] = [];
    for (let round = 0; round < 12; round++) {
      const turn = said(bob.sendAndWait({ prompt: create(`crossed-${round}.txt`) }));
      const { id: request } = await asked("alice", id);
      await eventually(() => bobs.calls.length > round, { what: "bob's client is asked" });
      const first = round % 3;
      // Bob allows over the SDK, Alice denies over HTTP: what became of it says who was first.
      if (first === 0) bobs.calls[round]?.({ kind: "approve-once" });
      const denied = answer("alice", id, request, { decision: "deny" });
      if (first === 1) bobs.calls[round]?.({ kind: "approve-once" });
      const { status, body } = await denied;
      if (first === 2) bobs.calls[round]?.({ kind: "approve-once" });
      const created = (await turn).startsWith("create said: Created");
      expect([status, created]).toEqual(status === 200 ? [200, false] : [409, true]);
      if (status === 409) expect(body.code).toBe("request_settled");
      if (first === 2) expect(status).toBe(200);
      const winner = created ? "bob" : "alice";
      winners.push(winner);
      await reader.until("it is settled", () =>
        told(reader).some(({ event, requestId }) => event === "request.settled" && requestId === request),
      );
      const settled = told(reader).filter(
        ({ event, requestId }) => event === "request.settled" && requestId === request,
      );
      expect(settled).toMatchObject([{ by: winner, outcome: "answered" }]);
    }
    expect(new Set(winners).has("alice")).toBe(true);
  });

  it("of a person counts before the client's, whose later one to a question is not heard", async () => {
    const id = await found();
    const alices = handlers();
    const alice = await squadron.client("alice").resumeSession(await nameOf("alice", id), alices.config);
    const turn = said(alice.sendAndWait({ prompt: askUser }));
    const request = await asked("alice", id);
    await eventually(() => alices.inputs.length === 1, { what: "the client is asked" });
    expect((await answer("alice", id, request.id, { answer: "blue" })).status).toBe(200);
    alices.inputs[0]?.("red");
    expect(await turn).toBe("ask_user said: User selected: blue");
  });
});

describe("when who was asked has gone", () => {
  it.each(["permission", "user_input"] as const)("the next client is asked: %s", async (kind) => {
    const id = await found();
    const name = await nameOf("alice", id);
    const [first, second] = [handlers(), handlers()];
    const other = await squadron.client("alice").resumeSession(name, second.config);
    const client = squadron.client("alice");
    const one = await client.resumeSession(name, first.config);
    const idle = new Promise<void>((resolve) => {
      other.on("session.idle", () => resolve());
    });
    await one.send({ prompt: kind === "permission" ? create("next.txt") : askUser });
    const { id: request } = await asked("alice", id);
    const asks = (of: typeof first) => (kind === "permission" ? of.calls : of.inputs).length;
    await eventually(() => asks(first) === 1, { what: "the sender's client is asked" });
    const before = asks(second);
    await client.forceStop();
    await eventually(() => asks(second) === before + 1, { what: "the other client is asked" });
    expect((await openIn("alice", id)).map((open) => open.id)).toEqual([request]);
    second.calls.at(-1)?.({ kind: "approve-once" });
    second.inputs.at(-1)?.("green");
    await within(idle, { what: "the turn ends" });
    const { body } = await http.call("alice", "GET", `/v1/sessions/${id}/messages`);
    expect(JSON.stringify(body)).toMatch(kind === "permission" ? /Created file/ : /User responded: green/);
  });

  it("or may only read by now: an owner's client is asked, and heard", async () => {
    const id = await found();
    await letIn(id, "bob", "writer");
    const [alices, bobs] = [handlers(), handlers()];
    await squadron.client("alice").resumeSession(await nameOf("alice", id), alices.config);
    const bob = await squadron.client("bob").resumeSession(await nameOf("bob", id), bobs.config);
    const turn = said(bob.sendAndWait({ prompt: create("lowered.txt") }));
    await asked("alice", id);
    await eventually(() => bobs.calls.length === 1 && alices.calls.length === 1, {
      what: "both have seen it",
    });
    await letIn(id, "bob", "reader");
    await eventually(() => alices.calls.length === 2, { what: "the owner's client is asked" });
    bobs.calls[0]?.({ kind: "reject" });
    alices.calls[1]?.({ kind: "approve-once" });
    expect(await turn).toMatch(/^create said: Created/);
  });

  it.each([
    ["user_input", askUser, { answer: "blue" }],
    ["permission", create("killed.txt"), { decision: "allow" }],
  ])(
    "its runtime: the question is withdrawn, and the message interrupted: %s",
    async (kind, prompt, given) => {
      await using own = await startTestNode({ isolation: "user", allow });
      const client = httpOf(own);
      const id = await found(client);
      await using reader = followOn(own, id);
      await reader.until("the stream is open", () => reader.events.length > 0);
      const message = client.call("alice", "POST", `/v1/sessions/${id}/messages`, { prompt });
      await reader.until("it is asked", () => told(reader).length === 1);
      const request = String(told(reader)[0]?.requestId);
      process.kill(own.node.fleet.list()[0]?.pid ?? 0, "SIGKILL");
      expect(await message).toMatchObject(problem(503, "turn_interrupted"));
      await reader.until("it is withdrawn", () => told(reader).length === 2);
      expect(told(reader)[1]).toMatchObject({ requestId: request, kind, by: null, outcome: "withdrawn" });
      expect((await client.call("alice", "GET", `/v1/sessions/${id}/requests`)).body).toEqual({
        requests: [],
      });
      const late = await client.call("alice", "POST", `/v1/sessions/${id}/requests/${request}`, given);
      // Once nobody uses the session the node forgets what it has asked.
      expect([404, 409]).toContain(late.status);
    },
  );

  it("its turn, which was aborted: the question is withdrawn", async () => {
    const id = await found();
    for (const prompt of [askUser, create("aborted.txt")]) {
      const message = send("alice", id, prompt);
      const { id: request } = await asked("alice", id);
      expect((await http.call("alice", "POST", `/v1/sessions/${id}/abort`)).status).toBe(200);
      expect(await message).toMatchObject(problem(409, "turn_aborted"));
      await eventually(async () => (await openIn("alice", id)).length === 0, { what: "nothing is asked" });
      const body = prompt === askUser ? { answer: "blue" } : { decision: "allow" };
      expect(await answer("alice", id, request, body)).toMatchObject(problem(409, "request_settled"));
    }
    expect((await send("alice", id, "[[echo still there]]")).body.content).toBe("still there");
  });
});

describe("nobody", () => {
  it("answers in time: the answer is no, and the turn goes on", async () => {
    await using own = await startTestNode({ isolation: "user", allow, limits: { callbackTimeoutMs: 1_000 } });
    const client = httpOf(own);
    const id = await found(client);
    await using reader = followOn(own, id);
    await reader.until("the stream is open", () => reader.events.length > 0);
    const ask = (prompt: string) => client.call("alice", "POST", `/v1/sessions/${id}/messages`, { prompt });
    expect((await ask(create("late.txt"))).body.content).toBe(
      "create said: Permission denied and could not request permission from user",
    );
    expect((await ask(askUser)).body.content).toBe(
      "ask_user said: User responded: The user is not available to answer.",
    );
    await reader.until("both are settled", () => told(reader).length === 4);
    expect(told(reader).map(({ event, kind, outcome }) => [event, kind, outcome])).toEqual(
      ["permission", "user_input"].flatMap((kind) => [
        ["request.opened", kind, undefined],
        ["request.settled", kind, "timeout"],
      ]),
    );
  });

  it("is asked by a one-shot prompt: the answer is no at once", async () => {
    const ask = (prompt: string) => http.call("alice", "POST", "/v1/prompts", { prompt });
    const { body } = await within(ask(create("once.txt")), { what: "the answer" });
    expect(body.content).toMatch(/^create said: Permission denied/);
    expect((await ask("[[tools]]")).body.content).toBe("create");
  });
});

describe("a form", () => {
  it("is filled in over HTTP, with what it asks for", async () => {
    const id = await found();
    const alice = await squadron.client("alice").resumeSession(await nameOf("alice", id), {});
    const form = alice.rpc.ui.elicitation({
      message: "How many?",
      requestedSchema: { type: "object", properties: { n: { type: "integer" } }, required: ["n"] },
    });
    const request = await asked("alice", id);
    expect(request).toMatchObject({ kind: "elicitation", turnId: null, for: null, mayAnswer: true });
    for (const wrong of [
      { action: "accept" },
      { action: "accept", content: { n: "three" } },
      { action: "accept", content: { n: 3, more: 1 } },
      { action: "decline", content: { n: 3 } },
    ])
      expect(await answer("alice", id, request.id, wrong)).toMatchObject(problem(400, "invalid_request"));
    expect((await answer("alice", id, request.id, { action: "accept", content: { n: 3 } })).status).toBe(200);
    expect(await form).toMatchObject({ action: "accept", content: { n: 3 } });
  });
});
