import { describe, expect, test } from "vitest";
import { allowEverything } from "../../../src/config/config.ts";
import { judgeCall } from "../../../src/policy/judge.ts";
import { methodEntries } from "../../../src/wire/method-table.ts";
import { policyWith, refusal } from "./policy.ts";

const closed = policyWith();
/** Every switch but `all`. */
const widest = policyWith({ ...allowEverything, all: false });
const all = policyWith(allowEverything);

const requests = methodEntries().filter(({ scope }) => scope === "global" || scope === "session");
const opened = requests.filter(({ withAll }) => withAll !== undefined);
const neverOpened = requests.filter(({ verdict, withAll }) => verdict === "deny" && withAll === undefined);

describe("methods", () => {
  test("every method is open, opened by allow: all, or never, and each way is taken", () => {
    for (const entry of requests) {
      const call = (policy: typeof all) => judgeCall(policy, entry.method, {}).verdict;
      if (entry.verdict !== "deny") {
        for (const policy of [closed, widest, all]) expect(call(policy), entry.method).toBe(entry.verdict);
        continue;
      }
      for (const policy of [closed, widest])
        expect(
          refusal(() => call(policy)),
          entry.method,
        ).toMatchObject({ code: "method_denied" });
      if (entry.withAll === undefined)
        expect(
          refusal(() => call(all)),
          entry.method,
        ).toMatchObject({ code: "method_denied" });
      else expect(call(all), entry.method).toBe(entry.withAll);
    }
  });

  test("a refusal says whether allow: all would help", () => {
    const helped = refusal(() => judgeCall(closed, "session.shell.exec", { sessionId: "s" }));
    expect(helped.message).toContain("Only a policy with allow: all opens it.");
    expect(helped.details).toEqual({ method: "session.shell.exec", policy: "allow.all" });
    const never = refusal(() => judgeCall(all, "runtime.shutdown", {}));
    expect(never.message).not.toContain("allow: all");
  });

  test.each([
    ...[
      "session.shell.exec",
      "session.shell.kill",
      "session.shell.executeUserRequested",
      "session.lsp.initialize",
    ],
    ...["session.permissions.setApproveAll", "session.permissions.setMode", "session.sendMessages"],
    ...[
      "session.fleet.start",
      "session.schedule.add",
      "session.workspaces.diff",
      "session.extensions.reload",
    ],
    ...[
      "session.queue.insertAt",
      "session.debug.collectLogs",
      "session.mcp.reload",
      "session.plugins.reload",
    ],
    ...["sessions.readPersistedEvents", "sessions.getEventFilePath", "sessions.startRemoteControl"],
  ])("%s goes to the runtime of its session", (method) => {
    expect(judgeCall(all, method, { sessionId: "s" }).verdict).toBe("allow");
  });

  test.each([
    ...["user.settings.get", "user.settings.set", "mcp.config.list", "mcp.config.add", "plugins.install"],
    ...["plugins.marketplaces.add", "extensions.enable", "skills.discover", "agents.discover", "tools.list"],
    ...[
      "commands.list",
      "skills.config.setSkillDisabled",
      "account.getQuota",
      "sessions.getRemoteControlStatus",
    ],
  ])("%s goes to the runtime of the unit", (method) => {
    expect(judgeCall(all, method, {}).verdict).toBe("unit");
  });

  test.each(["sessions.pruneOld", "sessions.getSizes", "sessions.getLastForContext"])(
    "%s is about the directory of sessions, which is the node's",
    (method) => expect(judgeCall(all, method, {}).verdict).toBe("local"),
  );

  /** What would stop or reconfigure the runtime under us. One more here is a decision, so the list is written out. */
  test("what stays closed is exactly this", () => {
    expect(neverOpened.map(({ method }) => method)).toEqual([
      ...[
        "account.login",
        "account.logout",
        "agentRegistry.spawn",
        "plugins.builtin.set",
        "runtime.shutdown",
      ],
      ...["session.canvas.provider.register", "session.canvas.provider.unregister"],
      ...["session.factory.agent", "session.factory.journal.get", "session.factory.journal.put"],
      ...["session.factory.log", "session.factory.pauseAtCheckpoint"],
      ...["session.gitHubAuth.getAllAuthAvailable", "session.gitHubAuth.getCurrentAuthInfo"],
      ...["session.gitHubAuth.lastAuthErrors", "session.gitHubAuth.login", "session.gitHubAuth.logout"],
      ...["session.gitHubAuth.logoutUser", "session.gitHubAuth.refreshCopilotUser"],
      ...["session.gitHubAuth.setCredentials", "session.gitHubAuth.switchToAuth"],
      ...["session.mcp.configureGitHub", "session.mcp.registerExternalClient"],
      ...["session.mcp.unregisterExternalClient", "session.permissions.setRequired"],
      ...["session.provider.getEndpoint", "session.queue.beginDeferredIdleDrain"],
      ...["session.queue.deferSessionIdle", "session.queue.enqueueResumePending"],
      ...["session.queue.finishDeferredIdleDrain", "session.queue.process", "session.schedule.hydrate"],
      ...["session.shutdown", "session.tools.set", "session.ui.registerDirectAutoModeSwitchHandler"],
      ...["session.ui.unregisterDirectAutoModeSwitchHandler", "sessionFs.setProvider"],
      ...["sessions.configureSessionExtensions", "sessions.connect", "sessions.getClientMetadata"],
      ...["sessions.open", "sessions.setAdditionalPlugins"],
    ]);
  });

  test("what the table does not know is unknown to allow: all too", () => {
    for (const method of ["bogus.method", "shell.output", "extensionLaunchProvider.resolve", "__proto__"])
      expect(refusal(() => judgeCall(all, method, {})).code).toBe("method_unknown");
  });
});

describe("parameters", () => {
  test("of every method that allow: all opens are judged, the unknown ones refused", () => {
    for (const { method } of opened) {
      expect(
        refusal(() => judgeCall(all, method, { bogus: "x" })),
        method,
      ).toMatchObject({
        code: "parameter_denied",
      });
    }
  });

  test("what is refused or ignored otherwise passes as it is exactly where the table says so", () => {
    let passed = 0;
    for (const entry of requests.filter(({ verdict }) => verdict !== "deny")) {
      for (const [name, verdict] of Object.entries(entry.params)) {
        if (verdict.kind !== "deny" && verdict.kind !== "drop") continue;
        const judge = (policy: typeof all) => judgeCall(policy, entry.method, { [name]: "x" }).params;
        const shut = (policy: typeof all) => {
          if (verdict.kind === "drop") expect(judge(policy), name).toEqual({});
          else
            expect(
              refusal(() => judge(policy)),
              name,
            ).toMatchObject({ code: "parameter_denied" });
        };
        shut(widest);
        if (verdict.opens === "all") {
          expect(judge(all), `${entry.method} ${name}`).toEqual({ [name]: "x" });
          passed++;
        } else shut(all);
      }
    }
    expect(passed).toBeGreaterThan(50);
  });

  const opening = {
    sessionId: "s",
    availableTools: ["bash", "view", "*"],
    toolFilterPrecedence: "available",
    workingDirectory: "project",
    additionalDirectories: ["/etc"],
    pluginDirectories: ["/p"],
    skillDirectories: ["/s"],
    mcpServers: { files: { command: "server", args: [], env: { A: "b" }, tools: ["*"] } },
    customAgents: [{ name: "a", prompt: "p", mcpServers: { x: { command: "y" } } }],
    enableConfigDiscovery: true,
    enableSkills: true,
    memory: { enabled: true },
    requestExtensions: true,
    extensionSdkPath: "/sdk",
    featureFlags: { A: true },
    envValueMode: "indirect",
  };

  test.each(["session.create", "session.resume"])("%s keeps everything that a client asks for", (method) => {
    expect(judgeCall(all, method, opening).params).toEqual(opening);
  });

  test.each([
    ["session.create", "configDir", "/elsewhere"],
    ["session.create", "cloud", { repository: "a/b" }],
    ["session.resume", "factories", [{ name: "f" }]],
    ["session.send", "requestHeaders", { authorization: "x" }],
    ["session.send", "wait", true],
    ["session.sendMessages", "requestHeaders", { a: "x" }],
    ["session.options.update", "copilotUrl", "https://a.example"],
    ["session.options.update", "sessionCapabilities", ["x"]],
    ["sessions.delete", "sessionPath", "/x"],
  ])("%s has no %s even then", (method, name, value) => {
    const error = refusal(() => judgeCall(all, method, { sessionId: "s", [name]: value }));
    expect(error).toMatchObject({ code: "parameter_denied" });
    expect(error.message).toContain("Leave it out.");
  });

  test("no message brings headers for the model provider, wherever it stands", () => {
    const hidden = { prompt: "p", requestHeaders: { authorization: "x" } };
    for (const [method, params] of [
      ["session.sendMessages", { messages: [{ prompt: "a" }, hidden] }],
      ["session.queue.insertAt", { position: 0, message: hidden }],
    ] as const) {
      const error = refusal(() => judgeCall(all, method, { sessionId: "s", ...params }));
      expect(error.details.parameter).toMatch(/requestHeaders$/);
    }
    const messages = [{ prompt: "a", attachments: [{ type: "file", path: "/etc/hosts" }] }];
    expect(judgeCall(all, "session.sendMessages", { sessionId: "s", messages }).params.messages).toEqual(
      messages,
    );
  });

  test("files, commands, modes, sources and lasting approvals are the client's choice", () => {
    const pass = (method: string, params: object) =>
      expect(judgeCall(all, method, { sessionId: "s", ...params }).params).toEqual({
        sessionId: "s",
        ...params,
      });
    pass("session.send", { prompt: "p", source: "system", agentMode: "shell" });
    pass("session.send", {
      prompt: "p",
      attachments: [{ type: "file", path: "/etc/hosts", displayName: "h" }],
    });
    pass("session.commands.invoke", { name: "add-dir", input: "/" });
    pass("session.permissions.handlePendingPermissionRequest", {
      requestId: "r",
      result: { kind: "approve-permanently" },
    });
    pass("session.permissions.paths.add", { path: "../up" });
    pass("session.mcp.startServer", { serverName: "x", config: { command: "y" } });
    for (const [method, params] of [
      ["session.send", { source: "system" }],
      ["session.send", { attachments: [{ type: "file", path: "/etc/hosts" }] }],
      ["session.commands.invoke", { name: "add-dir" }],
      ["session.permissions.handlePendingPermissionRequest", { result: { kind: "approve-permanently" } }],
    ] as const)
      expect(refusal(() => judgeCall(closed, method, params)).code).toBe("parameter_denied");
  });

  test("keys that reach for the prototype are refused all the same", () => {
    const params = JSON.parse('{"sessionId":"s","command":"x","cwd":{"__proto__":{"a":1}}}');
    expect(refusal(() => judgeCall(all, "session.shell.exec", params)).code).toBe("invalid_request");
  });
});
