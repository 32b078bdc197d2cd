import { once } from "node:events";
import { writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { connectRaw, type RawAnswer, type RawClient } from "../support/raw-client.ts";
import { modelKey, startTestNode, type TestNode, users } from "../support/test-node.ts";
import { canaries, leaks, openVictim, sayIn, type Victim } from "../support/victim.ts";
import { eventually } from "../support/wait.ts";

/** What one client can do to another on a shared bare runtime (all observed there), tried through Squadron. */
let squadron: TestNode;
let victim: Victim;
let history: string;
let file: string;
let bob: RawClient;
const own = "bobs-own";

beforeAll(async () => {
  squadron = await startTestNode({ isolation: "shared" });
  file = join(squadron.directory, "host-file.png");
  await writeFile(file, "CANARY-HOST-FILE-7b7b");
  victim = await openVictim(squadron);
  history = await victim.history();
  bob = await connectRaw(squadron.node.sdk.port, users.bob.key);
  bob.answerWith(() => ({}));
  await bob.ask("session.create", { sessionId: own, streaming: true });
});
afterAll(async () => {
  expect(leaks(victim, bob.received(), JSON.stringify(victim.ids))).toEqual([]);
  expect(bob.received().includes("CANARY-HOST-FILE")).toBe(false);
  expect(await victim.history()).toBe(history);
  expect(await victim.say("[[count]]")).toBe("3");
  await bob.close();
  await victim.client.close();
  await squadron.stop();
});

const denied = (answer: RawAnswer, code: string): void =>
  expect(answer).toMatchObject({ kind: "error", code });
const deny = async (
  code: string,
  calls: readonly (readonly [string, Record<string, unknown>?])[],
): Promise<void> => {
  for (const [method, params] of calls) denied(await bob.call(method, params), code);
};
const atVictim = (more: Record<string, unknown> = {}) =>
  Object.values(victim.ids).map((sessionId) => ({ sessionId, ...more }));

describe("another user's session", () => {
  it("is in no list", async () => {
    for (const method of [
      "session.list",
      "sessions.list",
      "sessions.listNonEmptySessionIds",
      "session.getLastId",
    ]) {
      const answer = await bob.call(method, {});
      expect(leaks(victim, answer.text)).toEqual([]);
      if (method !== "sessions.listNonEmptySessionIds") expect(answer.text).toContain(own);
    }
    for (const id of Object.values(victim.ids)) {
      expect(await bob.ask("sessions.findByPrefix", { prefix: id.slice(0, 8) })).toEqual({});
      expect(await bob.ask("session.getMetadata", { sessionId: id })).toEqual({});
      expect(await bob.ask("sessions.checkInUse", { sessionIds: [id] })).toEqual({ inUse: [] });
    }
  });

  it.each([
    "session.resume",
    "session.getMessages",
    "session.eventLog.read",
    "session.eventLog.tail",
    "session.plan.read",
    "session.metadata.snapshot",
  ])("is not read by %s", async (method) => {
    for (const params of atVictim()) denied(await bob.call(method, params), "session_not_found");
  });

  it("takes no message from him", async () => {
    for (const params of atVictim({ prompt: "[[echo I was here]]" }))
      denied(await bob.call("session.send", params), "session_not_found");
    for (const mode of ["immediate", "enqueue"]) {
      denied(
        await bob.call("session.send", { sessionId: victim.name, prompt: "x", mode }),
        "session_not_found",
      );
    }
    await deny("method_denied", [
      ["session.sendMessages", { sessionId: victim.name, messages: [{ role: "user", content: "x" }] }],
      ["session.queue.insertAt", { sessionId: victim.name, index: 0, prompt: "x" }],
      ["session.fleet.start", { sessionId: victim.name, prompt: "x" }],
    ]);
  });

  it("is not deleted under her feet, nor closed", async () => {
    for (const { sessionId } of atVictim()) {
      expect(await bob.ask("session.delete", { sessionId })).toMatchObject({ success: false });
      expect((await bob.call("sessions.delete", { sessionId })).kind).toBe("result");
      expect(await bob.ask("sessions.bulkDelete", { sessionIds: [sessionId, sessionId] })).toEqual({
        freedBytes: {},
      });
      denied(await bob.call("sessions.save", { sessionId }), "session_not_found");
      // As a runtime answers for a name that nobody has; the victim stays attached.
      for (const method of ["session.destroy", "session.detach"])
        expect(await bob.ask(method, { sessionId })).toEqual(
          await bob.ask(method, { sessionId: "nobody's" }),
        );
      expect((await bob.call("sessions.close", { sessionId })).kind).toBe("result");
    }
    expect(await squadron.node.store.sessions.byId(victim.row.id)).toBeDefined();
    expect(victim.client.messages.filter(({ text }) => text.includes("session.deleted"))).toEqual([]);
    expect(squadron.node.gateway.services.hosts.find(victim.row.id)?.attachments).toHaveLength(1);
  });

  it("is not forked, pruned, or read from its files", async () => {
    for (const params of atVictim()) denied(await bob.call("sessions.fork", params), "session_not_found");
    await deny("method_denied", [
      ["sessions.readPersistedEvents", { sessionId: victim.row.id }],
      ["sessions.getEventFilePath", { sessionId: victim.row.id }],
      ["sessions.pruneOld", { olderThanDays: 0, dryRun: true }],
      ["sessions.pruneOld", { olderThanDays: 0 }],
    ]);
  });
});

describe("the host", () => {
  it.each(["session.shell.exec", "session.shell.executeUserRequested"])(
    "runs no command by %s, not even in one's own session",
    async (method) => {
      for (const sessionId of [own, victim.name])
        denied(await bob.call(method, { sessionId, command: `cat ${file}` }), "method_denied");
    },
  );

  it("runs no built-in tool by session.tools.execute, whatever agent or tools one asks for", async () => {
    await bob.ask("session.create", {
      sessionId: "tools",
      customAgents: [{ name: "evil", description: "d", prompt: "p", tools: ["bash", "view", "*"] }],
      agent: "evil",
    });
    for (const [name, args] of [
      ["bash", { command: `cat ${file}`, description: "d" }],
      ["view", { path: file }],
    ] as const) {
      const answer = await bob.call("session.tools.execute", {
        sessionId: "tools",
        name,
        arguments: args,
        toolCallId: name,
      });
      expect(answer.text).toContain("does not exist");
    }
    expect(await sayIn(bob, "tools", "[[tools]]")).toBe("");
    denied(
      await bob.call("session.create", { sessionId: "tools2", availableTools: ["builtin:bash"] }),
      "parameter_denied",
    );
    denied(
      await bob.call("session.options.update", { sessionId: "tools", availableTools: ["builtin:bash"] }),
      "parameter_denied",
    );
    denied(await bob.call("session.tools.set", { sessionId: "tools", tools: [] }), "method_denied");
  });

  it.each([
    [
      "mcpServers with a command",
      { mcpServers: { evil: { command: "cat", args: ["/etc/passwd"], tools: ["*"] } } },
    ],
    [
      "mcpServers of an agent",
      {
        customAgents: [
          {
            name: "a",
            prompt: "p",
            mcpServers: { evil: { type: "local", command: "cat", args: [], tools: ["*"] } },
          },
        ],
      },
    ],
    ["pluginDirectories", { pluginDirectories: ["/etc"] }],
    ["configDir", { configDir: "/etc" }],
    ["workingDirectory", { workingDirectory: "/" }],
    ["additionalDirectories", { additionalDirectories: ["/"] }],
    ["skillDirectories", { skillDirectories: ["/etc"] }],
    ["instructionDirectories", { instructionDirectories: ["/etc"] }],
    ["largeOutput.outputDir", { largeOutput: { enabled: true, outputDir: "/etc" } }],
    ["extensionSdkPath", { extensionSdkPath: "/etc" }],
    ["requestedEnvironmentVariables", { requestedEnvironmentVariables: ["PATH"] }],
    ["provider", { provider: { type: "openai", baseUrl: "http://127.0.0.1:1/v1", apiKey: "x" } }],
  ])("is not opened by %s of create, resume or options", async (_what, params) => {
    denied(await bob.call("session.create", { sessionId: "never-made", ...params }), "parameter_denied");
    denied(await bob.call("session.resume", { sessionId: own, ...params }), "parameter_denied");
    expect(await bob.call("session.options.update", { sessionId: own, ...params })).toMatchObject({
      kind: "error",
      code: "parameter_denied",
    });
    expect(await squadron.node.store.sessions.byName("acme", "bob", "never-made")).toBeUndefined();
  });

  it("its loopback is not reached by an MCP server with an address", async () => {
    let visits = 0;
    const server = createServer((_request, response) => {
      visits++;
      response.end();
    }).listen(0, "127.0.0.1");
    await once(server, "listening");
    const address = server.address();
    const url = `http://127.0.0.1:${typeof address === "object" ? address?.port : ""}/`;
    for (const type of ["http", "sse"]) {
      const mcpServers = { evil: { type, url, tools: ["*"] } };
      denied(await bob.call("session.create", { sessionId: "mcp", mcpServers }), "parameter_denied");
      denied(await bob.call("session.resume", { sessionId: own, mcpServers }), "parameter_denied");
      denied(
        await bob.call("session.mcp.startServer", {
          sessionId: own,
          serverName: "evil",
          config: mcpServers.evil,
        }),
        "parameter_denied",
      );
    }
    await sayIn(bob, own, "[[echo a turn]]");
    server.close();
    expect(visits).toBe(0);
  });

  it.each(["file", "directory"])("its files are no attachments (%s)", async (type) => {
    const attachments = [{ type, path: file, displayName: "x" }];
    const requests = squadron.model.requests.length;
    denied(
      await bob.call("session.send", { sessionId: own, prompt: "see", attachments }),
      "parameter_denied",
    );
    await deny("method_denied", [
      ["session.sendMessages", { sessionId: own, messages: [{ prompt: "see", attachments }] }],
      ["session.queue.insertAt", { sessionId: own, index: 0, prompt: "see", attachments }],
      ["session.fleet.start", { sessionId: own, prompt: "see", attachments }],
      ["session.extensions.sendAttachmentsToMessage", { sessionId: own, attachments }],
    ]);
    expect(squadron.model.requests.length).toBe(requests);
  });

  it("a path in a prompt or in a harmless attachment stays text", async () => {
    const attachments = [
      {
        type: "selection",
        filePath: file,
        displayName: "x",
        text: "only this",
        selection: { start: { line: 0, character: 0 }, end: { line: 0, character: 1 } },
      },
    ];
    await bob.ask("session.send", { sessionId: own, prompt: `@${file} [[echo seen]]`, attachments });
    await eventually(() => bob.events("assistant.message").at(-1)?.data !== undefined, {
      what: "an answer",
    });
    expect(JSON.stringify(squadron.model.requests).includes("CANARY-HOST-FILE")).toBe(false);
  });
});

describe("what all sessions of a runtime share", () => {
  it.each([
    [
      "settings",
      ["user.settings.get", "user.settings.set", "managedSettings.read", "managedSettings.clearCache"],
    ],
    [
      "MCP settings",
      ["mcp.config.list", "mcp.config.add", "mcp.config.update", "mcp.config.remove", "mcp.discover"],
    ],
    [
      "plugins",
      [
        "plugins.list",
        "plugins.install",
        "plugins.uninstall",
        "plugins.marketplaces.add",
        "plugins.builtin.set",
      ],
    ],
    [
      "accounts",
      [
        "account.getAllUsers",
        "account.getCurrentAuth",
        "account.login",
        "account.logout",
        "account.getQuota",
      ],
    ],
    ["its life", ["runtime.shutdown", "session.shutdown"]],
    ["providers of a whole runtime", ["sessionFs.setProvider", "registerExtensionLaunchProvider"]],
    ["redaction of logs", ["secrets.addFilterValues"]],
    [
      "approvals of places",
      [
        "session.permissions.folderTrust.addTrusted",
        "session.permissions.locations.addToolApproval",
        "session.permissions.setApproveAll",
        "session.permissions.configure",
      ],
    ],
  ])("%s: out of reach", async (_what, methods) => {
    await deny(
      "method_denied",
      methods.map((method) => [method, { sessionId: own }] as const),
    );
  });

  it("no approval outlives the session", async () => {
    for (const kind of ["approve-permanently", "approve-for-location"]) {
      denied(
        await bob.call("session.permissions.handlePendingPermissionRequest", {
          sessionId: own,
          requestId: "r",
          result: { kind },
        }),
        "parameter_denied",
      );
    }
  });

  it("nobody gets the telemetry of all", async () => {
    await using second = await connectRaw(squadron.node.sdk.port, users.bob.key);
    denied(
      await second.call("session.create", { sessionId: "telemetry", enableGitHubTelemetryForwarding: true }),
      "parameter_denied",
    );
    await victim.client.ask("session.plan.read", { sessionId: victim.name });
    expect(second.received().includes("gitHubTelemetry")).toBe(false);
    expect(bob.received().includes("gitHubTelemetry")).toBe(false);
  });
});

describe("the model provider", () => {
  it("gets no headers and no source of a client's, and bills as the node says", async () => {
    denied(
      await bob.call("session.send", {
        sessionId: own,
        prompt: "x",
        requestHeaders: { authorization: "Bearer mine" },
      }),
      "parameter_denied",
    );
    denied(
      await bob.call("session.send", { sessionId: own, prompt: "x", source: "system" }),
      "parameter_denied",
    );
    await bob.ask("session.send", { sessionId: own, prompt: "billed", billable: false });
    await eventually(
      () => squadron.model.requests.some((request) => JSON.stringify(request).includes("billed")),
      { what: "the model call" },
    );
    expect(JSON.stringify(squadron.model.requests).includes("Bearer mine")).toBe(false);
  });

  // A 401 of the scripted model repeats the key, as real providers do.
  it.each([400, 401, 404])("does not show its address or its key in an error %i", async (status) => {
    const errors = bob.events("session.error").length;
    await bob.ask("session.send", { sessionId: own, prompt: `[[fail ${status}]]` });
    await eventually(() => bob.events("session.error").length > errors, { what: "the error" });
    for (const secret of [modelKey.slice(3, 30), new URL(squadron.model.url).host])
      expect(bob.received().includes(secret)).toBe(false);
  });
});

it("keeps each of these denials in the audit", async () => {
  await eventually(
    async () => {
      const entries = await squadron.node.store.audit.list({ limit: 1_000 });
      const targets = new Set(
        entries
          .filter(({ user, outcome }) => user === "bob" && outcome.endsWith("_denied"))
          .map(({ target }) => target),
      );
      return [
        "session.shell.exec",
        "runtime.shutdown",
        "session.create",
        "session.send",
        "sessions.pruneOld",
        "user.settings.get",
      ].every((target) => targets.has(target));
    },
    { what: "audit entries" },
  );
  const entries = JSON.stringify(await squadron.node.store.audit.list({ limit: 1_000 }));
  for (const secret of [canaries.prompt, canaries.answer, modelKey]) expect(entries).not.toContain(secret);
});
