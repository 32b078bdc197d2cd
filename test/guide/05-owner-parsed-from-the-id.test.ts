import { CopilotClient, RuntimeConnection } from "@github/copilot-sdk";
import { expect, test } from "vitest";
import { Secret } from "../../src/kernel/secret.ts";
import { startTestNode } from "../support/test-node.ts";
import { openGuideMachine } from "./guide-machine.ts";
import { getSessionId, resumeSessionWithAuth } from "./guide-way.ts";
import { say } from "./say.ts";

test("with the guide's ids alice reads the session of alice-smith, who cannot", async () => {
  await using machine = await openGuideMachine();
  const shared = machine.newClient((await machine.startCLI()).cliUrl);
  const sessionId = getSessionId("alice-smith", "taxes");
  await say(await shared.createSession({ sessionId, ...machine.sessionConfig }), "my secret is xyzzy");
  const stolen = await resumeSessionWithAuth(shared, machine.sessionConfig, sessionId, "alice");
  expect(await say(stolen, "[[recall]]")).toBe("my secret is xyzzy");
  const owner = resumeSessionWithAuth(shared, machine.sessionConfig, sessionId, "alice-smith");
  await expect(owner).rejects.toThrow("Access denied");
});

test("with the guide's ids a user without a name owns every id that begins with a dash", async () => {
  await using machine = await openGuideMachine();
  const shared = machine.newClient((await machine.startCLI()).cliUrl);
  const sessionId = getSessionId("-tenant7-bob", "taxes");
  await say(await shared.createSession({ sessionId, ...machine.sessionConfig }), "my secret is xyzzy");
  const stolen = await resumeSessionWithAuth(shared, machine.sessionConfig, sessionId, "");
  expect(await say(stolen, "[[recall]]")).toBe("my secret is xyzzy");
});

test("with ours a name says nothing about its owner: the same name is another session for everybody else", async () => {
  const users = ["alice", "alice-smith", "-alice", "alice-smith-taxes"];
  const keyOf = (user: string) => `key-of-${user}`;
  await using squadron = await startTestNode({
    isolation: "shared",
    keys: users.map((user) => ({ key: new Secret(keyOf(user)), tenant: "dash", user, roles: ["user"] })),
  });
  const clients = users.map(
    (user) =>
      new CopilotClient({
        connection: RuntimeConnection.forUri(`127.0.0.1:${squadron.node.sdk.port}`, {
          connectionToken: keyOf(user),
        }),
      }),
  );
  try {
    for (const sessionId of ["alice-smith-taxes-1", "-alice-taxes-1", "alice"]) {
      for (const [index, owner] of clients.entries()) {
        const session = await owner.createSession({ sessionId });
        expect(await say(session, `secret of ${index} [[echo kept]] [[count]]`)).toBe("kept 1");
      }
      await Promise.all(
        clients.map(async (owner, index) => {
          const history = JSON.stringify(await (await owner.resumeSession(sessionId, {})).getEvents());
          expect([0, 1, 2, 3].filter((other) => history.includes(`secret of ${other}`))).toEqual([index]);
        }),
      );
    }
    const only = await clients[1]?.createSession({ sessionId: "alice-smith-only" });
    expect(only).toBeDefined();
    for (const [index, other] of clients.entries()) {
      if (index === 1) continue;
      await expect(other.resumeSession("alice-smith-only", {})).rejects.toThrow(/not found/i);
    }
  } finally {
    await Promise.all(clients.map((client) => client.stop()));
  }
});
