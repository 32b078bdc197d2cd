import { expect, test } from "vitest";
import type { SquadronNode } from "../../src/node.ts";
import { startTestNode } from "../support/test-node.ts";
import { eventually } from "../support/wait.ts";
import { openGuideMachine } from "./guide-machine.ts";
import { SessionManager } from "./guide-way.ts";
import { say } from "./say.ts";

test("the guide evicts the session that was made first, although it was used last", async () => {
  await using machine = await openGuideMachine();
  const client = machine.newClient((await machine.startCLI()).cliUrl);
  const manager = new SessionManager(client, machine.sessionConfig, 2);
  const first = await manager.getSession("first");
  const second = await manager.getSession("second");
  await say(first, "hello");
  await say(second, "hello");
  await say(await manager.getSession("first"), "hello again");
  await manager.getSession("third");
  expect(await manager.getSession("second")).toBe(second);
  expect(await manager.getSession("first")).not.toBe(first);
});

test("the guide evicts a session in the middle of a turn, whose answer nobody gets", async () => {
  await using machine = await openGuideMachine();
  const client = machine.newClient((await machine.startCLI()).cliUrl);
  const manager = new SessionManager(client, machine.sessionConfig, 1);
  const busy = await manager.getSession("busy");
  const heard: string[] = [];
  busy.on((event) => void heard.push(event.type));
  const answer = busy.sendAndWait({ prompt: "[[echo the answer]] [[hold go]]" }, 5_000).then(
    () => "answered",
    (error: Error) => error.message,
  );
  await eventually(() => machine.model.holding("go") === 1, { what: "the turn runs" });
  await manager.getSession("other");
  machine.model.release("go");
  expect(await answer).toMatch(/^Timeout after 5000ms/);
  expect(heard).not.toContain("session.idle");
  // By the guide's own way back to it, all that was said is gone.
  expect(await say(await manager.getSession("busy"), "[[count]]")).toBe("1");
});

const livesOf = (node: SquadronNode): Record<string, string> =>
  Object.fromEntries(node.gateway.hosts.map(({ name, life }) => [name, life]));

test("ours sends the least recently used session to sleep, and its client notices nothing", async () => {
  await using squadron = await startTestNode({ runtimes: { maxSessions: 2 } });
  const client = squadron.client("alice");
  const first = await client.createSession({ sessionId: "first" });
  const second = await client.createSession({ sessionId: "second" });
  await say(first, "hello");
  await say(second, "hello");
  await say(first, "hello again");
  const third = await client.createSession({ sessionId: "third" });
  expect(livesOf(squadron.node)).toEqual({ first: "live", second: "hibernated", third: "live" });
  expect(await say(second, "[[recall]] [[count]]")).toMatch(/^hello 2$/);
  expect(livesOf(squadron.node)).toEqual({ first: "hibernated", second: "live", third: "live" });
  expect(await say(third, "[[count]]")).toBe("1");
  expect(await say(first, "[[count]]")).toBe("3");
});

test("ours never sends a session to sleep that has a running turn: whoever needs its place waits for it", async () => {
  await using squadron = await startTestNode({ runtimes: { maxSessions: 2 } });
  const { model, node } = squadron;
  const client = squadron.client("alice");
  const busy = await client.createSession({ sessionId: "busy" });
  const idle = await client.createSession({ sessionId: "idle" });
  const answers = [say(busy, "[[echo from busy]] [[hold go]]")];
  await eventually(() => model.holding("go") === 1, { what: "the turn runs" });
  // Used later than the busy one, and yet it is the one that goes.
  await say(idle, "hello");
  const next = await client.createSession({ sessionId: "next" });
  expect(livesOf(node)).toEqual({ busy: "live", idle: "hibernated", next: "live" });
  answers.push(say(next, "[[echo from next]] [[hold go]]"));
  await eventually(() => model.holding("go") === 2, { what: "both turns run" });
  const waiting = say(idle, "[[count]]");
  await eventually(() => node.gateway.services.hosts.waiting === 1, { what: "it waits for a place" });
  expect(livesOf(node)).toEqual({ busy: "live", idle: "hibernated", next: "live" });
  expect(model.holding("go")).toBe(2);
  model.release("go");
  expect(await waiting).toBe("2");
  model.release("go");
  expect(await Promise.all(answers)).toEqual(["from busy", "from next"]);
});
