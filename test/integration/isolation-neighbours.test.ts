import type { PermissionRequest } from "@github/copilot-sdk";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { Secret } from "../../src/kernel/secret.ts";
import { connectRaw, type RawClient } from "../support/raw-client.ts";
import { startTestNode, type TestNode, users } from "../support/test-node.ts";
import { lastAnswer, rowOf, sayIn } from "../support/victim.ts";
import { eventually } from "../support/wait.ts";

type UserName = keyof typeof users;

describe("neighbours in one shared runtime", () => {
  let squadron: TestNode;
  const open: RawClient[] = [];
  const connectAs = async (user: UserName): Promise<RawClient> => {
    const client = await connectRaw(squadron.node.sdk.port, users[user].key);
    open.push(client);
    return client;
  };
  beforeAll(async () => {
    squadron = await startTestNode({ isolation: "shared" });
  });
  afterAll(async () => {
    await Promise.all(open.map((client) => client.close()));
    await squadron.stop();
  });

  it("use the same names without colliding", async () => {
    const names = ["same", "acme", "alice", "a-b", "__proto__", "constructor", "../../x", "ä ö"];
    const clients = {
      alice: await connectAs("alice"),
      bob: await connectAs("bob"),
      carol: await connectAs("carol"),
    };
    for (const sessionId of names) {
      for (const [user, client] of Object.entries(clients)) {
        expect(await client.ask("session.create", { sessionId, streaming: true })).toMatchObject({
          sessionId,
        });
        await client.ask("session.plan.update", { sessionId, content: `plan of ${user} in ${sessionId}` });
      }
      for (const [user, client] of Object.entries(clients)) {
        expect(await client.ask("session.plan.read", { sessionId })).toMatchObject({
          content: `plan of ${user} in ${sessionId}`,
        });
      }
    }
    const answers = await Promise.all(
      Object.entries(clients).map(([user, client]) =>
        sayIn(client, "same", `[[echo only-${user}]] [[count]]`),
      ),
    );
    expect(answers).toEqual(["only-alice 1", "only-bob 1", "only-carol 1"]);
    for (const [user, client] of Object.entries(clients)) {
      for (const other of Object.keys(clients)) {
        if (other !== user)
          expect(
            client.received().includes(`only-${other}`) || client.received().includes(`plan of ${other}`),
          ).toBe(false);
      }
      for (const sessionId of names) await client.ask("session.delete", { sessionId });
    }
    expect(squadron.node.fleet.list()).toHaveLength(1);
  });

  it("see nothing of each other's hooks, tools, user input and permission requests", async () => {
    const run = async (user: "alice" | "bob") => {
      const seen: string[] = [];
      const client = squadron.client(user);
      const session = await client.createSession({
        sessionId: "callbacks",
        streaming: true,
        onPermissionRequest: (request: PermissionRequest) => {
          seen.push(`permission ${JSON.stringify(request)}`);
          return { kind: "approve-once" as const };
        },
        hooks: {
          onUserPromptSubmitted: (input) => {
            seen.push(`hook ${JSON.stringify(input)}`);
            return { modifiedPrompt: `${input.prompt} [[echo hooked-by-${user}]]` };
          },
          onPreToolUse: (input) => {
            seen.push(`pre ${JSON.stringify(input)}`);
            return {};
          },
        },
        tools: [
          {
            name: "shared_name",
            description: "Both have one of this name",
            parameters: { type: "object", properties: { text: { type: "string" } } },
            handler: (args) => {
              seen.push(`tool ${JSON.stringify(args)}`);
              return `result-for-${user}`;
            },
          },
        ],
      });
      const answers: string[] = [];
      for (let turn = 0; turn < 3; turn++) {
        const answer = await session.sendAndWait({
          prompt: `turn-of-${user} [[call shared_name {"text":"argument-of-${user}"}]]`,
        });
        answers.push(answer?.data.content ?? "");
      }
      return { seen: seen.join("\n"), answers };
    };
    const [alice, bob] = await Promise.all([run("alice"), run("bob")]);
    for (const [me, other, { seen, answers }] of [
      ["alice", "bob", alice],
      ["bob", "alice", bob],
    ] as const) {
      expect(answers).toEqual(Array(3).fill(`shared_name said: result-for-${me} hooked-by-${me}`));
      for (const mark of ["hook ", "tool ", "permission ", "pre "]) expect(seen).toContain(mark);
      expect(seen).toContain(`turn-of-${me}`);
      expect(seen).not.toContain(`-of-${other}`);
    }
  });

  it("hear of the lives of their own sessions only", async () => {
    const [alice, bob, carol] = [await connectAs("alice"), await connectAs("bob"), await connectAs("carol")];
    const second = await connectAs("alice");
    const sessionId = "a-life-of-alice";
    await alice.ask("session.create", { sessionId });
    const row = await rowOf(squadron.node, sessionId);
    await sayIn(alice, sessionId, "[[echo something]]");
    await alice.ask("session.name.set", { sessionId, name: "title" });
    await alice.ask("session.delete", { sessionId });
    const heard = (client: RawClient): string[] =>
      client.messages
        .filter(({ body, text }) => body.method === "session.lifecycle" && text.includes(sessionId))
        .map(({ text }) => text);
    for (const client of [alice, second]) {
      await eventually(() => heard(client).some((text) => text.includes("session.deleted")), {
        what: "the owner hears of the deletion",
      });
    }
    for (const client of [bob, carol]) {
      // What had been sent to them would have come before this answer.
      await client.ask("ping", {});
      expect([sessionId, row.id, row.publicId].filter((id) => client.received().includes(id))).toEqual([]);
    }
  });

  it("a fork is its owner's alone", async () => {
    const [alice, bob] = [await connectAs("alice"), await connectAs("bob")];
    await alice.ask("session.create", { sessionId: "forked" });
    await sayIn(alice, "forked", "[[echo in the trunk]]");
    const { sessionId } = await alice.ask("sessions.fork", { sessionId: "forked" });
    const name = String(sessionId);
    const row = await rowOf(squadron.node, name);
    expect(name).not.toBe(row.id);
    for (const id of [name, row.id, row.publicId]) {
      for (const method of ["session.resume", "session.send", "session.getMessages", "sessions.fork"]) {
        expect(
          await bob.call(method, { sessionId: id, ...(method === "session.send" && { prompt: "x" }) }),
        ).toMatchObject({ code: "session_not_found" });
      }
    }
    expect(JSON.stringify(await bob.ask("session.list", {})).includes(name)).toBe(false);
    expect(bob.messages.filter(({ body }) => "method" in body)).toEqual([]);
    await alice.ask("session.resume", { sessionId: name });
    expect(await sayIn(alice, name, "[[count]]")).toBe("2");
    expect(alice.received().includes(row.id), "events name the internal id only in paths").toBe(
      alice.received().includes(`session-state/${row.id}`),
    );
  });

  it("nobody answers what another one is asked", async () => {
    const [alice, bob] = [await connectAs("alice"), await connectAs("bob")];
    const tool = { name: "careful", description: "d", parameters: { type: "object", properties: {} } };
    await alice.ask("session.create", { sessionId: "asked", requestPermission: true, tools: [tool] });
    await bob.ask("session.create", { sessionId: "bobs", requestPermission: true, tools: [tool] });
    const idles = alice.events("session.idle").length;
    await alice.ask("session.send", { sessionId: "asked", prompt: "[[call careful {}]]" });
    const request = await eventually(() => alice.events("permission.requested")[0], {
      what: "a permission request",
    });
    const { requestId } = request.data as { requestId: string };
    const row = await rowOf(squadron.node, "asked");
    const guess = async (method: string, result: unknown) => {
      for (const sessionId of ["asked", row.id, row.publicId]) {
        expect(await bob.call(method, { sessionId, requestId, result })).toMatchObject({
          code: "session_not_found",
        });
      }
      const answer = await bob.call(method, { sessionId: "bobs", requestId, result });
      expect(answer).toMatchObject({ kind: "result", result: { success: false } });
    };
    await guess("session.permissions.handlePendingPermissionRequest", { kind: "approve-once" });
    expect(alice.events("permission.completed")).toEqual([]);
    await alice.ask("session.permissions.handlePendingPermissionRequest", {
      sessionId: "asked",
      requestId,
      result: { kind: "approve-once" },
    });

    const call = await eventually(() => alice.events("external_tool.requested")[0], { what: "a tool call" });
    const { requestId: callId } = call.data as { requestId: string };
    // In a session of one's own the runtime says that all is well, whatever the request id: that it reaches nobody counts.
    expect(
      await bob.call("session.tools.handlePendingToolCall", {
        sessionId: "asked",
        requestId: callId,
        result: "BOB-WAS-HERE",
      }),
    ).toMatchObject({ code: "session_not_found" });
    await bob.call("session.tools.handlePendingToolCall", {
      sessionId: "bobs",
      requestId: callId,
      result: "BOB-WAS-HERE",
    });
    await bob.ask("ping", {});
    expect(alice.events("external_tool.completed")).toEqual([]);
    await alice.ask("session.tools.handlePendingToolCall", {
      sessionId: "asked",
      requestId: callId,
      result: "by alice",
    });
    await eventually(() => alice.events("session.idle").length > idles, { what: "the end of the turn" });
    expect(lastAnswer(alice)).toBe("careful said: by alice");
    expect(alice.received().includes("BOB-WAS-HERE")).toBe(false);
  });

  it("nobody's abort touches another one's turn", async () => {
    const [alice, bob] = [await connectAs("alice"), await connectAs("bob")];
    await alice.ask("session.create", { sessionId: "aborted" });
    await bob.ask("session.create", { sessionId: "aborting" });
    const row = await rowOf(squadron.node, "aborted");
    await alice.ask("session.send", {
      sessionId: "aborted",
      prompt: "[[hold alice]] [[echo went on to the end]]",
    });
    await bob.ask("session.send", { sessionId: "aborting", prompt: "[[hold bob]] [[echo never said]]" });
    await eventually(() => squadron.model.holding("alice") + squadron.model.holding("bob") === 2, {
      what: "both turns",
    });
    for (const sessionId of ["aborted", row.id, row.publicId]) {
      for (const method of [
        "session.abort",
        "session.cancelAllBackgroundAgents",
        "session.suspend",
        "session.queue.clear",
      ]) {
        expect(await bob.call(method, { sessionId })).toMatchObject({ code: "session_not_found" });
      }
    }
    await bob.ask("session.abort", { sessionId: "aborting" });
    await eventually(() => squadron.model.holding("bob") === 0, { what: "the end of bob's turn" });
    expect(squadron.model.holding("alice")).toBe(1);
    squadron.model.release("alice");
    await eventually(() => alice.events("session.idle").length > 0, { what: "the end of alice's turn" });
    expect(lastAnswer(alice)).toBe("went on to the end");
  });

  it("replies that nobody asked for change nothing", async () => {
    const [alice, bob] = [await connectAs("alice"), await connectAs("bob")];
    let answer = (_value: unknown): void => undefined;
    const hooked = new Promise<void>((resolve) => {
      alice.answerWith((method) => {
        if (method !== "hooks.invoke") return {};
        const { promise, resolve: settle } = Promise.withResolvers<unknown>();
        answer = settle;
        resolve();
        return promise;
      });
    });
    await alice.ask("session.create", { sessionId: "replied", hooks: true });
    alice.send({
      jsonrpc: "2.0",
      id: 9_999,
      method: "session.send",
      params: { sessionId: "replied", prompt: "the prompt [[echo unchanged]]" },
    });
    await hooked;
    const stolen = {
      modifiedPrompt: "[[echo BOB-WAS-HERE]]",
      additionalContext: "BOB-WAS-HERE",
      decision: "block",
    };
    for (let id = 0; id < 500; id++) {
      bob.send({ jsonrpc: "2.0", id, result: stolen });
      bob.send({ jsonrpc: "2.0", id: String(id), result: { output: stolen } });
      bob.send({ jsonrpc: "2.0", id, error: { code: -1, message: "BOB-WAS-HERE" } });
    }
    await bob.ask("ping", {});
    const timer = setInterval(() => answer({}), 5);
    await eventually(() => alice.events("session.idle").length > 0, { what: "the end of the turn" }).finally(
      () => clearInterval(timer),
    );
    expect(lastAnswer(alice)).toBe("unchanged");
    expect(alice.received().includes("BOB-WAS-HERE")).toBe(false);
  });
});

it("nobody is given the GitHub token that another one's provider gives", async () => {
  await using squadron = await startTestNode({ isolation: "shared" });
  const asked = { alice: 0, bob: 0 };
  const open = async (user: "alice" | "bob"): Promise<RawClient> => {
    const client = await connectRaw(squadron.node.sdk.port, users[user].key);
    client.answerWith((method) => {
      if (method === "gitHubToken.getToken") asked[user]++;
      return { token: `ghu-token-of-${user}` };
    });
    return client;
  };
  await using alice = await open("alice");
  await using bob = await open("bob");
  // Whether the runtime accepts the token or not (there is no GitHub here): whom it asks is what counts.
  await alice.call("session.create", {
    sessionId: "alices",
    gitHubTokenProviderRegistrationId: "registration-1",
  });
  expect(asked).toEqual({ alice: expect.any(Number), bob: 0 });
  const afterAlice = asked.alice;
  const ours = [...JSON.stringify(alice.messages.map(({ body }) => body)).matchAll(/token_[\w-]+/g)].map(
    ([id]) => id,
  );
  for (const id of ["registration-1", ...ours]) {
    await bob.call("session.create", { sessionId: `bobs-${id}`, gitHubTokenProviderRegistrationId: id });
    await bob.call("session.options.update", {
      sessionId: `bobs-${id}`,
      gitHubTokenProviderRegistrationId: id,
    });
    expect(await bob.call("gitHubToken.getToken", { registrationId: id })).toMatchObject({
      code: "method_unknown",
    });
  }
  expect(asked.alice).toBe(afterAlice);
  expect(bob.received().includes("ghu-token-of-alice")).toBe(false);
}, 60_000);

describe("in isolation user", () => {
  const many = Array.from({ length: 20 }, (_, index) => ({
    tenant: `t${index % 3}`,
    user: `user-${index}`,
    key: `key-of-user-${index}`,
  }));

  it("twenty users run in twenty processes and none reads another's state", async () => {
    await using squadron = await startTestNode({
      isolation: "user",
      keys: many.map(({ tenant, user, key }) => ({ key: new Secret(key), tenant, user, roles: ["user"] })),
    });
    const clients = await Promise.all(many.map(({ key }) => connectRaw(squadron.node.sdk.port, key)));
    try {
      const answers = await Promise.all(
        clients.map(async (client, index) => {
          await client.ask("session.create", { sessionId: "mine" }, 60_000);
          await client.ask("session.plan.update", { sessionId: "mine", content: `plan-${index}.` });
          return sayIn(client, "mine", `[[echo secret-${index}.]] [[count]]`);
        }),
      );
      expect(answers).toEqual(many.map((_, index) => `secret-${index}. 1`));
      const runtimes = squadron.node.fleet.list();
      expect(new Set(runtimes.map(({ pid }) => pid)).size).toBe(20);
      for (const [index, client] of clients.entries()) {
        const rows = await Promise.all(
          many.map(({ tenant, user }) => squadron.node.store.sessions.byName(tenant, user, "mine")),
        );
        for (const [other, row] of rows.entries()) {
          if (other === index || row === undefined) continue;
          for (const id of [row.id, row.publicId])
            expect(await client.call("session.resume", { sessionId: id })).toMatchObject({
              code: "session_not_found",
            });
        }
        const text = client.received();
        expect(
          many
            .map((_, other) => other)
            .filter((other) => text.includes(`secret-${other}.`) || text.includes(`plan-${other}.`)),
        ).toEqual(text.includes(`plan-${index}.`) || text.includes(`secret-${index}.`) ? [index] : []);
      }
    } finally {
      await Promise.all(clients.map((client) => client.close()));
    }
  }, 90_000);

  it("two hundred first requests at once start one process and make each session once", async () => {
    await using squadron = await startTestNode({ isolation: "user" });
    const count = 200;
    const clients = await Promise.all(
      Array.from({ length: count }, () => connectRaw(squadron.node.sdk.port, users.alice.key)),
    );
    try {
      const created = await Promise.all(
        clients.map((client, index) =>
          client.ask(
            "session.create",
            { sessionId: index % 2 === 0 ? "the-same" : `other-${index % 5}` },
            60_000,
          ),
        ),
      );
      expect(new Set(created.map(({ sessionId }) => sessionId))).toEqual(
        new Set(["the-same", "other-0", "other-1", "other-2", "other-3", "other-4"]),
      );
      expect(squadron.node.fleet.list()).toHaveLength(1);
      expect(
        (await squadron.node.metrics.text()).match(/squadron_runtime_start_seconds_count (\d+)/)?.[1],
      ).toBe("1");
      const { sessions } = await squadron.node.store.sessions.listAll({ limit: 1_000 });
      expect(sessions.map(({ name }) => name).sort()).toEqual([
        "other-0",
        "other-1",
        "other-2",
        "other-3",
        "other-4",
        "the-same",
      ]);
      const first = clients[0];
      if (first === undefined) return;
      expect(await sayIn(first, "the-same", "[[count]]")).toBe("1");
      const { events } = await first.ask("session.getMessages", { sessionId: "the-same" });
      expect(JSON.stringify(events).match(/"type":"session\.start"/g)).toHaveLength(1);
    } finally {
      await Promise.all(clients.map((client) => client.close()));
    }
  }, 90_000);
});
