import { expect, test } from "vitest";
import { allowEverything } from "../../../src/config/config.ts";
import { judgeCall } from "../../../src/policy/judge.ts";
import { enforceSessionParameters, optionsPatch } from "../../../src/policy/session-parameters.ts";
import { policyWithin } from "../../../src/policy/unit-policy.ts";
import { policyWith } from "./policy.ts";

const all = policyWith(allowEverything);

/** What a session may have been made with while its policy said `allow: all`. */
const recorded = {
  model: "m",
  systemMessage: { mode: "append", content: "x" },
  availableTools: ["custom:a", "builtin:bash"],
  workingDirectory: "/srv/a",
  pluginDirectories: ["/p"],
  requestExtensions: true,
  featureFlags: { a: true },
  mcpServers: { x: { command: "y" } },
  customAgents: [{ name: "a", prompt: "p" }],
  enableSkills: true,
};

test("with allow: all nothing is taken away and nothing forced, but tokens stay in memory", () => {
  expect(enforceSessionParameters(all, recorded)).toEqual({
    ...recorded,
    mcpOAuthTokenStorage: "in-memory",
    infiniteSessions: { enabled: true, backgroundCompactionThreshold: 0.8 },
  });
  const own = { mcpOAuthTokenStorage: "persistent", infiniteSessions: { enabled: false } };
  expect(enforceSessionParameters(all, own)).toEqual(own);
  expect(optionsPatch(all, { shell: "/bin/sh", availableTools: ["bash"] })).toEqual({});
});

test("a session recorded with allow: all wakes without what its policy allows no longer", () => {
  const kept = enforceSessionParameters(policyWith({ workingDirectories: ["/srv"] }), recorded);
  expect(kept).toMatchObject({
    model: "m",
    workingDirectory: "/srv/a",
    availableTools: ["custom:a"],
    customAgents: recorded.customAgents,
    enableSkills: false,
  });
  for (const name of ["pluginDirectories", "requestExtensions", "featureFlags", "mcpServers"])
    expect(kept).not.toHaveProperty(name);
  expect(enforceSessionParameters(policyWith(), recorded)).not.toHaveProperty("workingDirectory");
  expect(
    enforceSessionParameters(policyWith({ mcp: { http: false, stdio: true } }), recorded).mcpServers,
  ).toEqual(recorded.mcpServers);
});

test("options of a wider policy are taken back", () => {
  const options = { shell: "/bin/sh", copilotUrl: "https://a.example", reasoningEffort: "high" };
  const sent = JSON.parse(JSON.stringify({ ...options, ...optionsPatch(policyWith(), options) }));
  expect(sent).toMatchObject({ reasoningEffort: "high", skipCustomInstructions: true });
  expect(sent).not.toHaveProperty("shell");
  expect(sent).not.toHaveProperty("copilotUrl");
});

test("in a runtime that others use nobody acts on the host, whatever the policy says by now", () => {
  for (const isolation of ["user", "session"] as const) expect(policyWithin(all, isolation)).toBe(all);
  for (const isolation of ["tenant", "shared"] as const) {
    const narrowed = policyWithin(all, isolation);
    expect(narrowed.allow).toEqual({
      all: false,
      models: ["*"],
      provider: true,
      tools: ["custom:*", "mcp:*"],
      mcp: { http: true, stdio: false },
      workingDirectories: [],
    });
    expect(() => judgeCall(narrowed, "session.shell.exec", { sessionId: "s" })).toThrow("allow: all");
  }
  const shell = policyWith({ tools: ["builtin:ask_user", "builtin:bash"], workingDirectories: ["/srv"] });
  expect(policyWithin(shell, "shared").allow).toMatchObject({
    tools: ["builtin:ask_user"],
    workingDirectories: ["/srv"],
  });
});
