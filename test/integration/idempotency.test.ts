import { afterAll, beforeAll, expect, test } from "vitest";
import { parseEvents } from "../support/http-client.ts";
import { startTestNode, type TestNode, type UserName } from "../support/test-node.ts";
import { eventually, within } from "../support/wait.ts";

let squadron: TestNode;
beforeAll(async () => {
  squadron = await startTestNode();
});
afterAll(() => squadron.stop());

interface Answer {
  readonly status: number;
  readonly replayed: boolean;
  readonly body: Record<string, unknown>;
}

const post = async (
  path: string,
  body: unknown,
  key: string | undefined,
  { node = squadron, user = "alice" as UserName } = {},
): Promise<Answer> => {
  const response = await node.fetch(user, path, {
    method: "POST",
    body: JSON.stringify(body),
    headers: key === undefined ? {} : { "idempotency-key": key },
  });
  return {
    status: response.status,
    replayed: response.headers.get("idempotent-replayed") === "true",
    body: (await response.json()) as Record<string, unknown>,
  };
};

const newSession = async (node = squadron): Promise<string> =>
  `/v1/sessions/${(await post("/v1/sessions", {}, undefined, { node })).body.id}`;

const asked = async (path: string, node = squadron): Promise<readonly string[]> => {
  const response = await node.fetch("alice", `${path}/messages`);
  const { messages } = (await response.json()) as { messages: { role: string; content: string }[] };
  return messages.filter(({ role }) => role === "user").map(({ content }) => content);
};

test("a message with a key runs once, and its answer is given again, over whatever connection and in whatever form", async () => {
  const path = `${await newSession()}/messages`;
  const first = await post(path, { prompt: "[[echo once]]" }, "m1");
  expect(first).toMatchObject({ status: 200, replayed: false, body: { content: "once" } });
  expect(await post(path, { prompt: "[[echo once]]" }, "m1")).toEqual({ ...first, replayed: true });
  expect(await post(`${path}?wait=false`, { prompt: "[[echo once]]" }, "m1")).toEqual({
    status: 202,
    replayed: true,
    body: { turnId: first.body.turnId },
  });
  const stream = await squadron.fetch("alice", path, {
    method: "POST",
    body: JSON.stringify({ prompt: "[[echo once]]" }),
    headers: { "idempotency-key": "m1", accept: "text/event-stream" },
  });
  expect(stream.headers.get("idempotent-replayed")).toBe("true");
  expect(parseEvents(await stream.text())).toMatchObject([
    { event: "turn.accepted", data: { turnId: first.body.turnId } },
    { event: "turn.completed", data: { content: "once" } },
  ]);
  expect(await asked(path.replace(/\/messages$/, ""))).toEqual(["[[echo once]]"]);
});

test("requests at the same time with one key are one turn, and all get its answer", async () => {
  const session = await newSession();
  const path = `${session}/messages`;
  const [held, ...rest] = Array.from({ length: 6 }, () =>
    post(path, { prompt: "[[hold same]] [[echo same]]" }, "m2"),
  );
  await eventually(() => squadron.model.holding("same") > 0, { what: "the turn runs" });
  const streamed = squadron
    .fetch("alice", path, {
      method: "POST",
      body: JSON.stringify({ prompt: "[[hold same]] [[echo same]]" }),
      headers: { "idempotency-key": "m2", accept: "text/event-stream" },
    })
    .then((response) => response.text());
  await eventually(() => squadron.node.gateway.connections === 7, { what: "all wait" });
  squadron.model.release("same");
  const answers = await within(Promise.all([held, ...rest]), { what: "all are answered" });
  expect(new Set(answers.map((answer) => answer?.body.turnId)).size).toBe(1);
  expect(answers.map((answer) => answer?.body.content)).toEqual(Array(6).fill("same"));
  expect(answers.filter((answer) => answer?.replayed === false)).toHaveLength(1);
  expect(parseEvents(await streamed).at(-1)).toMatchObject({
    event: "turn.completed",
    data: { content: "same" },
  });
  expect(await asked(session)).toHaveLength(1);
});

test("a key is one request's: other content, other session and nonsense are told apart; other users have their own", async () => {
  const path = `${await newSession()}/messages`;
  await post(path, { prompt: "[[echo a]]" }, "m3");
  const taken = { status: 422, body: { code: "unprocessable", details: { parameter: "Idempotency-Key" } } };
  expect(await post(path, { prompt: "[[echo b]]" }, "m3")).toMatchObject(taken);
  expect(await post(path, { prompt: "[[echo a]]", onBusy: "reject" }, "m3")).toMatchObject(taken);
  expect(await post(`${await newSession()}/messages`, { prompt: "[[echo a]]" }, "m3")).toMatchObject(taken);
  expect(await post("/v1/sessions", {}, "m3")).toMatchObject(taken);
  for (const key of ["", "two words", "x".repeat(256)])
    expect(await post(path, { prompt: "[[echo a]]" }, key)).toMatchObject({
      status: 400,
      body: { code: "invalid_request" },
    });
  expect(await post("/v1/sessions", {}, "m3", { user: "bob" })).toMatchObject({ status: 201 });
});

test("what failed is not tried again, what was refused before it began is", async () => {
  const path = `${await newSession()}/messages`;
  const failed = await post(path, { prompt: "[[fail 400]]" }, "m4");
  expect(failed).toMatchObject({ status: 502, body: { code: "turn_failed" } });
  const calls = squadron.model.requests.length;
  const again = await post(path, { prompt: "[[fail 400]]" }, "m4");
  expect(again).toMatchObject({ status: 502, replayed: true, body: { code: "turn_failed" } });
  expect(squadron.model.requests.length).toBe(calls);
  const running = post(path, { prompt: "[[hold free]] [[echo x]]" }, undefined);
  await eventually(() => squadron.model.holding("free") > 0, { what: "a turn runs" });
  const rejected = { prompt: "[[echo later]]", onBusy: "reject" };
  expect(await post(path, rejected, "m5")).toMatchObject({ status: 409, body: { code: "busy" } });
  squadron.model.release("free");
  await running;
  expect(await post(path, rejected, "m5")).toMatchObject({ status: 200, replayed: false });
});

test("a session with a key is made once", async () => {
  const asked = { name: "mine", visibility: "shared" };
  const first = await post("/v1/sessions", asked, "s1");
  expect(first).toMatchObject({ status: 201, replayed: false, body: { name: "mine" } });
  const again = await post("/v1/sessions", { visibility: "shared", name: "mine" }, "s1");
  expect(again).toMatchObject({ status: 201, replayed: true, body: { id: first.body.id, name: "mine" } });
  expect(await post("/v1/sessions", asked, "s2")).toMatchObject({
    status: 409,
    body: { code: "name_taken" },
  });
  const both = await Promise.all([post("/v1/sessions", {}, "s3"), post("/v1/sessions", {}, "s3")]);
  expect(both.map(({ status }) => status)).toEqual([201, 201]);
  expect(both[0]?.body.id).toBe(both[1]?.body.id);
});

test("a new node on the same store gives the same answers, and runs what a message with a key had been waiting for", async () => {
  const former = await startTestNode();
  const session = await newSession(former);
  const path = `${session}/messages`;
  const done = await post(path, { prompt: "[[echo done]]" }, "r1", { node: former });
  const running = post(path, { prompt: "[[hold cut]] [[echo cut]]" }, "r2", { node: former });
  await eventually(() => former.model.holding("cut") > 0, { what: "a turn runs" });
  const waiting = post(path, { prompt: "[[echo kept]]" }, "r3", { node: former });
  await eventually(() => former.node.gateway.hosts.some((host) => host.waiting.length === 1), {
    what: "another waits",
  });
  await former.node.close();
  expect((await running).status).toBe(503);
  expect((await waiting).status).toBe(503);
  const node = await startTestNode({ directory: former.directory, model: former.model });
  try {
    expect(await post(path, { prompt: "[[echo done]]" }, "r1", { node })).toEqual({
      ...done,
      replayed: true,
    });
    expect(await post(path, { prompt: "[[hold cut]] [[echo cut]]" }, "r2", { node })).toMatchObject({
      status: 503,
      replayed: true,
      body: { code: "turn_interrupted" },
    });
    expect(
      await within(post(path, { prompt: "[[echo kept]]" }, "r3", { node }), { what: "the waiting one runs" }),
    ).toMatchObject({ status: 200, replayed: true, body: { content: "kept" } });
    expect(await asked(session, node)).toEqual(["[[echo done]]", "[[echo kept]]"]);
  } finally {
    await node.stop();
    await former.stop();
  }
});
