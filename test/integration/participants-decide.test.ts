import { afterAll, beforeAll, expect, it } from "vitest";
import { httpOf } from "../support/http-client.ts";
import { connectRaw, type RawClient } from "../support/raw-client.ts";
import { startTestNode, type TestNode, users } from "../support/test-node.ts";
import { rowOf, sayIn } from "../support/victim.ts";
import { eventually } from "../support/wait.ts";

let squadron: TestNode;

beforeAll(async () => {
  squadron = await startTestNode({ isolation: "user", allow: { tools: ["custom:*", "builtin:create"] } });
});
afterAll(() => squadron?.stop());

const asked = async (client: RawClient, count: number): Promise<string> => {
  const event = await eventually(() => client.events("permission.requested")[count - 1], {
    what: `permission request ${count}`,
  });
  return (event.data as { requestId: string }).requestId;
};

it("a participant decides for this once: what holds for longer is the founder's", async () => {
  await using alice = await connectRaw(squadron.node.sdk.port, users.alice.key);
  await alice.ask("session.create", { sessionId: "decided", availableTools: ["builtin:create"] });
  const { publicId, id } = await rowOf(squadron.node, "decided");
  await httpOf(squadron).call("alice", "PUT", `/v1/sessions/${publicId}/participants/bob`, { role: "owner" });
  const sessionId = "alice~decided";
  await using bob = await connectRaw(squadron.node.sdk.port, users.bob.key);
  await bob.ask("session.resume", { sessionId, requestPermission: true });
  const create = (path: string) =>
    bob.ask("session.send", { sessionId, prompt: `[[call create {"path":"${path}","file_text":"x"}]]` });
  const decide = (requestId: string, result: unknown) =>
    bob.call("session.permissions.handlePendingPermissionRequest", { sessionId, requestId, result });
  const calls = async () =>
    (JSON.parse((await squadron.node.store.sessions.byId(id))?.record ?? "{}") as { calls?: unknown }).calls;
  await create("one.txt");
  const first = await asked(bob, 1);
  for (const result of [
    { kind: "approve-for-session", approval: { kind: "write" } },
    { kind: "approved-for-session", approval: { kind: "write" } },
    { kind: "approve-permanently", domain: "example.com" },
    {},
  ])
    expect(await decide(first, result)).toMatchObject({
      kind: "error",
      code: expect.stringMatching(/^(forbidden|parameter_denied)$/),
    });
  expect(await decide(first, { kind: "approve-once" })).toMatchObject({ result: { success: true } });
  await eventually(() => bob.events("session.idle").length === 1, { what: "the first turn's end" });
  await create("two.txt");
  expect(await decide(await asked(bob, 2), { kind: "reject" })).toMatchObject({ result: { success: true } });
  await eventually(() => bob.events("session.idle").length === 2, { what: "the second turn's end" });
  expect(await calls()).toEqual([]);
});

it("a participant's handler makes nobody else's turn wait for an answer", async () => {
  await using alice = await connectRaw(squadron.node.sdk.port, users.alice.key);
  await alice.ask("session.create", { sessionId: "alone", availableTools: ["builtin:create"] });
  const { publicId } = await rowOf(squadron.node, "alone");
  await httpOf(squadron).call("alice", "PUT", `/v1/sessions/${publicId}/participants/bob`, {
    role: "writer",
  });
  await using bob = await connectRaw(squadron.node.sdk.port, users.bob.key);
  await bob.ask("session.resume", { sessionId: "alice~alone", requestPermission: true });
  await sayIn(alice, "alone", '[[call create {"path":"three.txt","file_text":"x"}]]');
  expect(bob.events("permission.requested")).toEqual([]);
});
