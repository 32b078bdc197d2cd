import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { connectRaw } from "../support/raw-client.ts";
import { startTestNode, type TestNode, users } from "../support/test-node.ts";
import { eventually } from "../support/wait.ts";

describe("races on a real runtime", () => {
  let node: TestNode;
  beforeAll(async () => {
    node = await startTestNode();
  }, 30_000);
  afterAll(() => node.stop());
  const open = () => connectRaw(node.node.sdk.port, users.alice.key);

  it("deletes and creates one name at once, again and again, and what is left works", async () => {
    await using one = await open();
    await using two = await open();
    await one.ask("session.create", { sessionId: "again" });
    for (let round = 0; round < 5; round++) {
      const answers = await Promise.all([
        one.call("session.delete", { sessionId: "again" }),
        two.call("session.create", { sessionId: "again" }),
        two.call("session.delete", { sessionId: "again" }),
        one.call("session.create", { sessionId: "again" }),
      ]);
      expect(answers.map(({ kind, text }) => [kind, text])).toEqual(
        answers.map(({ text }) => ["result", text]),
      );
    }
    await two.ask("session.create", { sessionId: "again" });
    await two.ask("session.send", { sessionId: "again", prompt: "hello" });
    await eventually(() => two.events("session.idle").length > 0, { what: "an answer in what is left" });
    await two.ask("session.delete", { sessionId: "again" });
    expect(node.node.gateway.hosts).toHaveLength(0);
  });

  it("aborts a running turn twice without ending the turn that waits behind it", async () => {
    await using one = await open();
    await using two = await open();
    await one.ask("session.create", { sessionId: "twice" });
    await two.ask("session.resume", { sessionId: "twice" });
    await one.ask("session.send", { sessionId: "twice", prompt: "[[hold first]][[echo one]]" });
    await eventually(() => node.model.holding("first") > 0, { what: "the model in the first answer" });
    await two.ask("session.send", { sessionId: "twice", prompt: "[[delay 30]][[tokens 8]]" });
    const aborts = await Promise.all([1, 2, 3].map(() => one.call("session.abort", { sessionId: "twice" })));
    expect(aborts.map(({ kind }) => kind)).toEqual(["result", "result", "result"]);
    await eventually(() => two.events("session.idle").length > 0, { what: "the end of the second turn" });
    const types = two.events().map(({ type }) => type);
    expect(types.indexOf("session.idle")).toBeGreaterThan(types.lastIndexOf("assistant.message"));
    expect(JSON.stringify(two.events("assistant.message"))).toContain("t8");
    await one.ask("session.delete", { sessionId: "twice" });
  });
});
