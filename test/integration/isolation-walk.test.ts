import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { methodEntries } from "../../src/wire/method-table.ts";
import { callAll, callsOf, invented } from "../support/every-call.ts";
import { connectRaw } from "../support/raw-client.ts";
import { startTestNode, type TestNode, users } from "../support/test-node.ts";
import { leaks, openVictim, sayIn, type Victim } from "../support/victim.ts";
import { eventually } from "../support/wait.ts";

/** The codes that say: your policy does not let you. Those are counted and audited. */
const denialCodes: ReadonlySet<unknown> = new Set([
  "method_denied",
  "method_unknown",
  "parameter_denied",
  "model_denied",
  "forbidden",
]);
/** Its answer tells the time. */
const tellsTime: ReadonlySet<string> = new Set(["ping"]);
/** The owner's name becomes a session of the caller's own: see the test of it. */
const makesOwn: ReadonlySet<string> = new Set(["session.create"]);

const deniedTotal = async ({ node }: TestNode): Promise<number> => {
  const lines = (await node.metrics.text())
    .split("\n")
    .filter((line) => line.startsWith("squadron_frames_denied_total"));
  return lines.reduce((sum, line) => sum + Number(line.split(" ").at(-1)), 0);
};

let squadron: TestNode;
let victim: Victim;
let file: string;
let history: string;

beforeAll(async () => {
  squadron = await startTestNode({ isolation: "shared" });
  file = join(squadron.directory, "host-file.png");
  await writeFile(file, "CANARY-HOST-FILE-7b7b");
  victim = await openVictim(squadron);
  history = await victim.history();
});
afterAll(async () => {
  await victim?.client.close();
  await squadron?.stop();
});

const untouched = async (): Promise<void> => {
  expect(await victim.history()).toBe(history);
  expect(await squadron.node.store.sessions.byId(victim.row.id)).toMatchObject({
    title: victim.row.title,
    record: victim.row.record,
  });
};

describe.each(["bob", "carol"] as const)("every method, as %s, at Alice's session", (user) => {
  it.each(["name", "internal", "public"] as const)("by her %s id: she is not there", async (kind) => {
    await using client = await connectRaw(squadron.node.sdk.port, users[user].key);
    const id = victim.ids[kind];
    const nobody = [...id].map((letter) => (/[a-z0-9]/.test(letter) ? "q" : letter)).join("");
    const entries = [...methodEntries(), ...invented].filter(({ method }) => !makesOwn.has(method));
    const callsAt = (target: string) => entries.flatMap((entry) => callsOf(entry, target, file));
    const denied = await deniedTotal(squadron);
    const calls = callsAt(id);
    const answers = await callAll(client, calls);
    const denials = answers.filter(
      (answer) => answer.kind === "error" && denialCodes.has(answer.code),
    ).length;
    expect((await deniedTotal(squadron)) - denied).toBe(denials);
    expect(denials).toBeGreaterThan(400);

    const counterparts = await callAll(client, callsAt(nobody));
    for (const [index, answer] of answers.entries()) {
      const { method, params } = calls[index] ?? { method: "", params: {} };
      const what = `${method} ${JSON.stringify(params)}`;
      if (answer.kind === "error") expect(answer.code, what).toEqual(expect.any(String));
      if (!tellsTime.has(method))
        expect(answer.text.replaceAll(id, nobody), what).toBe(counterparts[index]?.text);
      expect(leaks(victim, answer.text, JSON.stringify(params)), what).toEqual([]);
    }
    expect(client.messages.filter(({ body }) => "method" in body)).toEqual([]);
    expect(client.received().includes("CANARY-HOST-FILE")).toBe(false);
    expect(client.received().includes(squadron.model.url)).toBe(false);
    await untouched();
  });

  it("a session that he makes by her name is his own, and empty", async () => {
    await using client = await connectRaw(squadron.node.sdk.port, users[user].key);
    for (const id of Object.values(victim.ids)) {
      for (const { params } of callsOf(
        { method: "session.create", params: {}, ids: { params: [], result: [], events: [] } },
        id,
        file,
      )) {
        await client.ask("session.create", params);
      }
      const { events } = await client.ask("session.getMessages", { sessionId: id });
      expect(JSON.stringify(events)).not.toContain("user.message");
      await client.ask("session.delete", { sessionId: id });
    }
    expect(leaks(victim, client.received(), JSON.stringify(victim.ids))).toEqual([]);
    await untouched();
  });

  it("every method on a session of his own tells nothing of hers", async () => {
    await using client = await connectRaw(squadron.node.sdk.port, users[user].key);
    client.answerWith(() => ({}));
    const own = `own-of-${user}`;
    await client.ask("session.create", { sessionId: own, requestPermission: true, hooks: true });
    const ending: ReadonlySet<string> = new Set([
      "session.delete",
      "session.destroy",
      "session.detach",
      "sessions.delete",
      "sessions.bulkDelete",
      "sessions.close",
      "session.create",
      // Beside other calls it may never be answered by the runtime; the node then gives up after its deadline.
      "session.resume",
    ]);
    const entries = methodEntries().filter(
      ({ verdict, scope, method }) =>
        verdict !== "deny" && (scope === "session" || scope === "global") && !ending.has(method),
    );
    const filler = (name: string): unknown =>
      ({ sessionIds: [own], limit: 100, max: 100, waitMs: 0, prefix: "", filter: {} })[name] ?? "x";
    const waitMs = 2_000;
    const results = await Promise.allSettled(
      entries.flatMap(({ method, params }) => {
        const allowed = Object.entries(params)
          .filter(([, { kind }]) => kind === "allow")
          .map(([name]) => name);
        const full = Object.fromEntries(allowed.map((name) => [name, filler(name)]));
        return [{ sessionId: own }, { ...full, sessionId: own }].map((given) =>
          client.call(method, given, waitMs),
        );
      }),
    );
    const answered = results.filter(({ status }) => status === "fulfilled").length;
    expect(answered).toBeGreaterThan(results.length * 0.9);
    expect(leaks(victim, client.received())).toEqual([]);
    expect(client.received().includes(squadron.model.url)).toBe(false);
    await client.close();
    await untouched();
  });
});

/** Parameters that name something inside a session. */
const innerIds =
  /^(id|requestId|eventId|handle|instanceId|cursor|toolCallId|clientTaskId|fromAgentId|agentIds|agentId|canvasId|extensionId|mcpRequestId)$/;
/** What the other parameters of such a call are, so that it would work on one's own. */
const willing: Readonly<Record<string, unknown>> = {
  result: { kind: "approve-once" },
  response: { answer: "BOB-WAS-HERE", wasFreeform: true },
  message: "BOB-WAS-HERE",
  arguments: {},
  name: "x",
  max: 100,
  direction: "forward",
  update: { kind: "status", status: "completed" },
  sequence: 99,
};

it("no id of anything inside Alice's session leads Bob from his own session into hers", async () => {
  await using client = await connectRaw(squadron.node.sdk.port, users.bob.key);
  client.answerWith(() => ({}));
  const sessionId = "bobs-with-her-ids";
  await client.ask("session.create", { sessionId });
  await sayIn(client, sessionId, "[[echo own history]]");
  const own = await client.ask("session.getMessages", { sessionId });

  // Everything of hers that can be open: a subagent at work, a task, an interest, a tool call that waits.
  const started = await victim.client.ask("session.tasks.startAgent", {
    sessionId: victim.name,
    agentType: "task",
    prompt: "[[hold agent]] [[echo done]]",
    name: "n",
    description: "d",
  });
  await eventually(() => squadron.model.holding("agent") === 1, { what: "the subagent at work" });
  await victim.client.ask("session.eventLog.registerInterest", {
    sessionId: victim.name,
    eventType: "mcp.oauth_required",
  });
  const { cursor } = await victim.client.ask("session.eventLog.tail", { sessionId: victim.name });
  const tasks = JSON.stringify(await victim.client.ask("session.tasks.list", { sessionId: victim.name }));
  const before = await victim.history();
  const uuids = new Set(
    victim.client.received().match(/[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}/g),
  );
  const ids = [
    ...uuids,
    ...(victim.client.received().match(/call_[\w-]+/g) ?? []),
    String(cursor),
    "interest-1",
    String(started.agentId),
  ];

  const calls = methodEntries()
    .filter(({ verdict, scope }) => verdict === "allow" && scope === "session")
    .flatMap(({ method, params }) => {
      const inner = Object.keys(params).filter((name) => innerIds.test(name));
      const others = Object.fromEntries(
        Object.keys(params)
          .filter((name) => Object.hasOwn(willing, name))
          .map((name) => [name, willing[name]]),
      );
      return inner.length === 0
        ? []
        : ids.map((id) => ({
            method,
            params: {
              ...others,
              ...Object.fromEntries(inner.map((name) => [name, name === "agentIds" ? [id] : id])),
              sessionId,
            },
          }));
    });
  expect(calls.length).toBeGreaterThan(500);
  const answers = await callAll(client, calls);
  for (const [index, answer] of answers.entries()) {
    expect(
      leaks(victim, answer.text, JSON.stringify(calls[index]?.params)),
      JSON.stringify(calls[index]),
    ).toEqual([]);
  }
  expect(squadron.model.holding("agent")).toBe(1);
  expect(JSON.stringify(await victim.client.ask("session.tasks.list", { sessionId: victim.name }))).toBe(
    tasks,
  );
  expect(await victim.history()).toBe(before);
  expect(victim.client.received().includes("BOB-WAS-HERE")).toBe(false);
  expect((await client.ask("session.getMessages", { sessionId })).events).toEqual(
    expect.arrayContaining(own.events as unknown[]),
  );
  squadron.model.release("agent");
  await eventually(
    async () => {
      const { tasks: left } = await victim.client.ask("session.tasks.list", { sessionId: victim.name });
      return JSON.stringify(left).includes('"idle"');
    },
    { what: "the end of the subagent's work" },
  );
  await victim.client.ask("session.tasks.cancel", { sessionId: victim.name, id: started.agentId });
  await victim.client.ask("session.tasks.remove", { sessionId: victim.name, id: started.agentId });
});

it("each method that nobody may call is audited with who called it", async () => {
  await using client = await connectRaw(squadron.node.sdk.port, users.bob.key);
  const methods = methodEntries()
    .filter(({ verdict, scope }) => verdict === "deny" || scope === "callback" || scope === "notification")
    .map(({ method }) => method);
  const since = (await squadron.node.store.audit.list({ limit: 1 }))[0]?.id ?? 0;
  for (const answer of await callAll(
    client,
    methods.map((method) => ({ method, params: { sessionId: victim.name } })),
  )) {
    expect(answer).toMatchObject({ kind: "error", code: expect.stringMatching(/^method_(denied|unknown)$/) });
  }
  await eventually(
    async () => {
      const entries = (await squadron.node.store.audit.list({ limit: 20_000 })).filter(
        ({ id, user }) => id > since && user === "bob",
      );
      return new Set(entries.map(({ target }) => target)).size >= methods.length;
    },
    { what: `an audit entry of each of ${methods.length} methods` },
  );
});

it("Alice's session answers as before", async () => {
  expect(await victim.say("[[count]] [[echo as before]]")).toMatch(/^\d as before$/);
});
