import { expect, test, vi } from "vitest";
import { httpOf } from "../support/http-client.ts";
import { startTestNode } from "../support/test-node.ts";
import { eventually } from "../support/wait.ts";
import { openGuideMachine } from "./guide-machine.ts";
import { SessionManager } from "./guide-way.ts";
import { say } from "./say.ts";

test("the guide's getSession makes one session twice when asked twice at once; one of the two objects is deaf", async () => {
  await using machine = await openGuideMachine();
  const client = machine.newClient((await machine.startCLI()).cliUrl);
  const manager = new SessionManager(client, machine.sessionConfig);
  const [first, second] = await Promise.all([manager.getSession("s"), manager.getSession("s")]);
  expect(first).not.toBe(second);
  expect(first.sessionId).toBe(second.sessionId);
  const heard = { first: 0, second: 0 };
  first.on("assistant.message", () => heard.first++);
  second.on("assistant.message", () => heard.second++);
  await second.send({ prompt: "hello" });
  await eventually(() => heard.first + heard.second > 0, { what: "one of the two hears the answer" });
  expect(Object.values(heard).sort()).toEqual([0, 1]);
});

test("the guide's limit of one is overshot by three parallel requests", async () => {
  await using machine = await openGuideMachine();
  const client = machine.newClient((await machine.startCLI()).cliUrl);
  const manager = new SessionManager(client, machine.sessionConfig, 1);
  const sessions = await Promise.all(["a", "b", "c"].map((id) => manager.getSession(id)));
  expect(manager.active).toBe(3);
  for (const session of sessions) expect(await say(session, "[[count]]")).toBe("1");
});

test("ours makes a session once, however many ask for it at once, and each of them gets its answers", async () => {
  await using squadron = await startTestNode();
  const clients = Array.from({ length: 5 }, () => squadron.client("alice"));
  const sessions = await Promise.all(clients.map((client) => client.createSession({ sessionId: "s" })));
  const { body } = await httpOf(squadron).call("alice", "GET", "/v1/sessions");
  expect(body.sessions).toEqual([expect.objectContaining({ name: "s" })]);
  const [host] = squadron.node.gateway.hosts;
  if (host === undefined) throw new Error("The session is nowhere.");
  const sends = vi.spyOn(host, "send");
  const answers = Promise.all(
    sessions.map((session, index) => say(session, `[[echo answer to ${index}]] [[hold go]]`)),
  );
  await eventually(() => sends.mock.settledResults.filter(({ type }) => type === "fulfilled").length === 5, {
    what: "all five messages stand in the queue",
  });
  for (const _ of sessions) {
    await eventually(() => squadron.model.release("go") === 1, { what: "one turn runs, and one only" });
  }
  expect(await answers).toEqual(sessions.map((_, index) => `answer to ${index}`));
  const starts = (await sessions[0]?.getEvents())?.filter(({ type }) => type === "session.start");
  expect(starts).toHaveLength(1);
});

test("our limit of runtimes holds under parallel requests; what is over it is told so", async () => {
  await using squadron = await startTestNode({ isolation: "session", runtimes: { max: 2 } });
  const http = httpOf(squadron);
  const answers = await Promise.all(
    Array.from({ length: 6 }, () => http.call("alice", "POST", "/v1/sessions", {})),
  );
  expect(answers.filter(({ status }) => status === 201)).toHaveLength(2);
  for (const { status, body } of answers.filter((answer) => answer.status !== 201)) {
    expect({ status, body }).toMatchObject({ status: 503, body: { code: "no_capacity" } });
  }
  expect(squadron.node.fleet.list()).toHaveLength(2);
});
