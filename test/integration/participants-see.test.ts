import { afterAll, beforeAll, expect, it } from "vitest";
import { type HttpClient, httpOf } from "../support/http-client.ts";
import { connectRaw } from "../support/raw-client.ts";
import { startTestNode, type TestNode, users } from "../support/test-node.ts";
import { canaries, openVictim, sayIn } from "../support/victim.ts";

let squadron: TestNode;
let http: HttpClient;

beforeAll(async () => {
  squadron = await startTestNode({ isolation: "user" });
  http = httpOf(squadron);
});
afterAll(async () => {
  await squadron?.stop();
});

it("a participant sees the conversation, and nothing of what the founder has the model told, nor where", async () => {
  await using victim = await openVictim(squadron);
  const forTheModel = "CANARY-OF-A-HOOK-2d11";
  victim.client.answerWith((method) =>
    method === "hooks.invoke" ? { output: { additionalContext: forTheModel } } : {},
  );
  const at = `/v1/sessions/${victim.row.publicId}`;
  await http.call("alice", "PUT", `${at}/participants/bob`, { role: "owner" });
  const name = `alice~${victim.name}`;
  await using bob = await connectRaw(squadron.node.sdk.port, users.bob.key);
  await bob.ask("session.resume", { sessionId: name, streaming: true });

  expect(await sayIn(bob, name, "[[echo live]]")).toBe("live");
  await bob.ask("session.getMessages", { sessionId: name });
  for (const direction of ["forward", "backward"])
    await bob.ask("session.eventLog.read", { sessionId: name, max: 1_000, direction });
  const read = bob.ask("session.eventLog.read", { sessionId: name, types: ["system.message"] });
  expect((await read).events).toEqual([]);
  const history = await http.call("bob", "GET", `${at}/messages?view=events&limit=500`);
  const streamed = await http.events("bob", `${at}/messages`, { prompt: "[[echo streamed]]" });

  for (const seen of [bob.received(), JSON.stringify(history.body), JSON.stringify(streamed)]) {
    expect(seen.includes("user.message")).toBe(true);
    const secrets = [
      canaries.systemMessage,
      "system.message",
      "model.messages_snapshot",
      "hook.",
      forTheModel,
      squadron.directory,
    ];
    expect(secrets.filter((secret) => seen.includes(secret))).toEqual([]);
  }
  const hers = await victim.history();
  expect(
    [canaries.systemMessage, forTheModel, squadron.directory].filter((one) => !hers.includes(one)),
  ).toEqual([]);
});
