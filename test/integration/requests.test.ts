import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { readStream, type StreamReader } from "../support/event-reader.ts";
import { type HttpAnswer, type HttpClient, httpOf } from "../support/http-client.ts";
import { startTestNode, type TestNode, type UserName } from "../support/test-node.ts";
import { eventually } from "../support/wait.ts";

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
