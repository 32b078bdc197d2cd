import { afterAll, beforeAll, expect, it } from "vitest";
import { httpOf } from "../support/http-client.ts";
import { connectRaw } from "../support/raw-client.ts";
import { startTestNode, type TestNode, users } from "../support/test-node.ts";
import { rowOf, sayIn } from "../support/victim.ts";

let squadron: TestNode;

beforeAll(async () => {
  squadron = await startTestNode({ isolation: "user" });
});
afterAll(() => squadron?.stop());

it("a client that gives a renamed session's former name to a new one hears of the new one alone", async () => {
  const http = httpOf(squadron);
  await using alice = await connectRaw(squadron.node.sdk.port, users.alice.key);
  await alice.ask("session.create", { sessionId: "draft" });
  const former = await rowOf(squadron.node, "draft");
  const at = `/v1/sessions/${former.publicId}`;
  expect((await http.call("alice", "PATCH", at, { name: "final" })).status).toBe(200);
  await alice.ask("session.create", { sessionId: "draft" });
  expect(await sayIn(alice, "draft", "[[echo of the new one]]")).toBe("of the new one");

  const answered = await http.call("alice", "POST", `${at}/messages`, { prompt: "[[echo of the former]]" });
  expect(answered.body.content).toBe("of the former");
  expect(alice.received().includes("of the former")).toBe(false);
  expect((await http.call("alice", "GET", `${at}/participants`)).body.participants).toMatchObject([
    { user: "alice", attached: false },
  ]);
});
