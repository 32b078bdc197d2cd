import { expect, test } from "vitest";
import { httpOf } from "../support/http-client.ts";
import { startTestNode } from "../support/test-node.ts";
import { openGuideMachine } from "./guide-machine.ts";
import { chatRoutes } from "./guide-way.ts";
import { newSession, say } from "./say.ts";

test("the guide answers bob out of alice's session, and lets him delete it", async () => {
  await using machine = await openGuideMachine();
  const client = machine.newClient((await machine.startCLI()).cliUrl);
  const routes = chatRoutes(client, machine.sessionConfig);
  const [alice, bob] = [{ id: "alice" }, { id: "bob" }];
  const { sessionId } = await routes.start({ user: alice, body: undefined });
  await routes.message({ user: alice, body: { sessionId, message: "my secret is xyzzy" } });
  expect(await routes.message({ user: bob, body: { sessionId, message: "[[recall]]" } })).toEqual({
    content: "my secret is xyzzy",
  });
  expect(await routes.end({ user: bob, body: { sessionId } })).toEqual({ success: true });
  const gone = routes.message({ user: alice, body: { sessionId, message: "[[count]]" } });
  await expect(gone).rejects.toThrow();
});

test("ours tells bob the same as of a session that never was, and alice notices nothing", async () => {
  await using squadron = await startTestNode({ isolation: "shared" });
  const http = httpOf(squadron);
  const id = await newSession(http, "alice", { name: "chat" });
  const path = `/v1/sessions/${id}`;
  await http.call("alice", "POST", `${path}/messages`, { prompt: "my secret is xyzzy" });
  for (const user of ["bob", "carol", "admin"] as const) {
    const answers = [
      await http.call(user, "POST", `${path}/messages`, { prompt: "[[recall]]" }),
      await http.call(user, "GET", `${path}/messages`),
      await http.call(user, "DELETE", path),
    ];
    for (const { status, body } of answers) {
      expect({ status, body }).toMatchObject({ status: 404, body: { code: "session_not_found" } });
      expect(JSON.stringify(body)).not.toContain("xyzzy");
    }
    const sdk = squadron.client(user);
    for (const sessionId of ["chat", id]) {
      await expect(sdk.resumeSession(sessionId, {})).rejects.toThrow(/not found/i);
      await expect(sdk.deleteSession(sessionId)).rejects.toThrow(/not found/i);
    }
    expect(await sdk.listSessions()).toEqual([]);
  }
  const session = await squadron.client("alice").resumeSession("chat", {});
  expect(await say(session, "[[recall]] [[count]]")).toBe("my secret is xyzzy 2");
});
