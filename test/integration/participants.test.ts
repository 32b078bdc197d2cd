import { approveAll } from "@github/copilot-sdk";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type HttpClient, httpOf } from "../support/http-client.ts";
import { startTestNode, type TestNode } from "../support/test-node.ts";
import { eventually } from "../support/wait.ts";

let squadron: TestNode;
let http: HttpClient;
let names = 0;

beforeAll(async () => {
  squadron = await startTestNode({ isolation: "user" });
  http = httpOf(squadron);
});
afterAll(async () => {
  await squadron?.stop();
});

/** A session of Alice's. */
const found = async (): Promise<{ id: string; name: string }> => {
  names += 1;
  const name = `review-${names}`;
  const { status, body } = await http.call("alice", "POST", "/v1/sessions", { name });
  expect(status).toBe(201);
  return { id: String(body.id), name };
};

/** What Bob calls the session then, as far as it is said. */
const letBob = async (id: string, role: string): Promise<unknown> => {
  const { status, body } = await http.call("alice", "PUT", `/v1/sessions/${id}/participants/bob`, { role });
  const { name, ...rest } = body;
  expect([status, rest]).toEqual([200, { user: "bob", role, attached: false, typing: false }]);
  return name;
};

const problem = (status: number, code: string) => ({ status, body: expect.objectContaining({ code }) });

describe("participants over HTTP", () => {
  it("see the session that an owner lets them into, and nobody else does", async () => {
    const { id, name } = await found();
    expect(await http.call("bob", "GET", `/v1/sessions/${id}`)).toMatchObject(
      problem(404, "session_not_found"),
    );
    await letBob(id, "reader");
    const { body } = await http.call("bob", "GET", `/v1/sessions/${id}`);
    expect(body).toMatchObject({
      id,
      name: `alice~${name}`,
      owner: "alice",
      role: "reader",
      participants: 2,
    });
    const listed = await http.call("bob", "GET", "/v1/sessions?limit=200");
    expect(listed.body.sessions).toContainEqual(expect.objectContaining({ id, role: "reader" }));
    expect((await http.call("bob", "GET", `/v1/sessions/${id}/participants`)).body).toEqual({
      participants: [
        { user: "alice", role: "owner", attached: false, typing: false },
        { user: "bob", role: "reader", attached: false, typing: false },
      ],
    });
    for (const user of ["carol", "admin"] as const)
      expect(await http.call(user, "GET", `/v1/sessions/${id}/participants`)).toMatchObject(
        problem(404, "session_not_found"),
      );
    expect((await http.call("alice", "GET", `/v1/sessions/${id}`)).body).toMatchObject({
      name,
      owner: "alice",
      role: "owner",
      participants: 2,
    });
  });

  it("are of the session's tenant: a user of the same name elsewhere is somebody else", async () => {
    const { id } = await found();
    await http.call("alice", "PUT", `/v1/sessions/${id}/participants/carol`, { role: "owner" });
    expect(await http.call("carol", "GET", `/v1/sessions/${id}`)).toMatchObject(
      problem(404, "session_not_found"),
    );
    expect((await http.call("carol", "GET", "/v1/sessions")).body).toEqual({ sessions: [] });
  });

  it("who are owners give another title, and the founder stays one", async () => {
    const { id } = await found();
    await letBob(id, "owner");
    const path = `/v1/sessions/${id}`;
    expect(await http.call("bob", "PATCH", path, { title: "Bob's title" })).toMatchObject({ status: 200 });
    expect((await http.call("alice", "GET", path)).body).toMatchObject({ title: "Bob's title" });
    expect(await http.call("bob", "PATCH", path, { ttl: "1h" })).toMatchObject(problem(403, "forbidden"));
    for (const user of ["alice", "bob"] as const) {
      expect(await http.call(user, "DELETE", `${path}/participants/alice`)).toMatchObject(
        problem(403, "forbidden"),
      );
      expect(await http.call(user, "PUT", `${path}/participants/alice`, { role: "reader" })).toMatchObject(
        problem(403, "forbidden"),
      );
    }
    expect(await http.call("bob", "PATCH", path, { name: "what bob calls it" })).toMatchObject({
      status: 200,
      body: { name: "what bob calls it" },
    });
    expect((await http.call("alice", "GET", path)).body).toMatchObject({
      role: "owner",
      name: `review-${names}`,
    });
    expect((await http.call("bob", "DELETE", path)).status).toBe(204);
    for (const user of ["alice", "bob"] as const)
      expect(await http.call(user, "GET", path)).toMatchObject(problem(410, "session_deleted"));
  });

  it("have a name for it, which who lets them in is told, but not one that they have chosen themselves", async () => {
    const { id, name } = await found();
    expect(await letBob(id, "reader")).toBe(`alice~${name}`);
    expect(await letBob(id, "writer")).toBe(`alice~${name}`);
    const theirs = squadron.client("bob");
    const resumed = await theirs.resumeSession(`alice~${name}`, { onPermissionRequest: approveAll });
    await resumed.disconnect();
    expect((await http.call("bob", "PATCH", `/v1/sessions/${id}`, { name: "my own" })).status).toBe(200);
    expect(await letBob(id, "reader")).toBeUndefined();
    const { body } = await http.call("alice", "GET", `/v1/sessions/${id}/participants`);
    expect(JSON.stringify(body)).not.toContain("my own");
    // One that the user has for another session gets a number.
    const other = await found();
    await http.call("bob", "POST", "/v1/sessions", { name: `alice~${other.name}` });
    expect(await letBob(other.id, "reader")).toBe(`alice~${other.name}-2`);
  });

  it("are removed, and leave", async () => {
    const { id } = await found();
    await letBob(id, "writer");
    expect((await http.call("alice", "DELETE", `/v1/sessions/${id}/participants/bob`)).status).toBe(204);
    expect(await http.call("bob", "GET", `/v1/sessions/${id}`)).toMatchObject(
      problem(404, "session_not_found"),
    );
    expect(await http.call("alice", "DELETE", `/v1/sessions/${id}/participants/bob`)).toMatchObject(
      problem(404, "not_found"),
    );
    await letBob(id, "reader");
    expect((await http.call("bob", "DELETE", `/v1/sessions/${id}/participants/bob`)).status).toBe(204);
    expect(await http.call("bob", "DELETE", `/v1/sessions/${id}/participants/bob`)).toMatchObject(
      problem(404, "session_not_found"),
    );
  });
});

it("what a role forbids is audited", async () => {
  const { id } = await found();
  await letBob(id, "reader");
  const at = `/v1/sessions/${id}`;
  for (const [method, path, body] of [
    ["PATCH", at, { title: "Bob's" }],
    ["PATCH", at, { ttl: "1m" }],
    ["GET", `${at}/invites`, undefined],
    ["POST", `${at}/typing`, { typing: true }],
    ["POST", `${at}/abort`, undefined],
    ["POST", `${at}/messages`, { prompt: "x" }],
  ] as const)
    expect(await http.call("bob", method, path, body)).toMatchObject(problem(403, "forbidden"));
  const refused = async () =>
    (await squadron.node.store.audit.list({ limit: 100 })).filter(
      ({ user, target, action, outcome }) =>
        user === "bob" &&
        action === "call" &&
        outcome === "forbidden" &&
        [id, "session.send"].includes(target),
    );
  await eventually(async () => (await refused()).length === 6, { what: "an audit entry of each" });
});

it("nobody gets a foreign session under a name that a program of theirs would use", async () => {
  const { id, name } = await found();
  const mine = squadron.client("bob");
  await mine.createSession({ sessionId: "bob-own", onPermissionRequest: approveAll });
  const put = (user: string, body: unknown) =>
    http.call("alice", "PUT", `/v1/sessions/${id}/participants/${user}`, body);
  for (const squatted of ["bob-next", "alice", "bob~alice~x"])
    expect(await put("bob", { role: "reader", name: squatted })).toMatchObject(
      problem(400, "invalid_request"),
    );
  for (const user of ["%00", "b%0Ab", "b".repeat(129)])
    expect(await put(user, { role: "reader" })).toMatchObject(problem(400, "invalid_request"));
  expect((await put("bob", { role: "writer", name: "alice~the plan" })).status).toBe(200);
  await squadron.client("alice").resumeSession(name, { onPermissionRequest: approveAll });
  await http.call("alice", "POST", `/v1/sessions/${id}/messages`, { prompt: "[[echo the last use]]" });
  expect((await mine.listSessions()).map(({ sessionId }) => sessionId)[0]).toBe("alice~the plan");
  expect(await mine.getLastSessionId()).toBe("bob-own");
});

it("an unmodified SDK client attaches by its user's own name, and its messages are answered", async () => {
  const { id, name } = await found();
  await letBob(id, "writer");
  const session = await squadron
    .client("bob")
    .resumeSession(`alice~${name}`, { onPermissionRequest: approveAll, model: "scripted-2" });
  const answer = await session.sendAndWait("[[echo hello from Alice's session]]");
  expect(answer?.data.content).toBe("hello from Alice's session");
  expect((await http.call("alice", "GET", `/v1/sessions/${id}`)).body).toMatchObject({ model: null });
  expect((await http.call("alice", "GET", `/v1/sessions/${id}/turns`)).body.turns).toMatchObject([
    { by: "bob", state: "completed" },
  ]);
  await http.call("alice", "DELETE", `/v1/sessions/${id}/participants/bob`);
  await expect(session.send("one more")).rejects.toThrow("Session not found");
  await eventually(
    async () => {
      const entries = await squadron.node.store.audit.list({ limit: 100 });
      return entries.some(({ action, target }) => action === "participant.revoke" && target === id);
    },
    { what: "an audit entry" },
  );
});
