import { describe, expect, test } from "vitest";
import type { Policy } from "../../../src/config/config.ts";
import { SquadronError } from "../../../src/kernel/errors.ts";
import { judgeCall } from "../../../src/policy/judge.ts";
import { policyWith } from "./policy.ts";

/** `ok`, or the refusal's code with the place in the parameters. */
const outcome = (policy: Policy, method: string, params: Record<string, unknown>): string => {
  try {
    judgeCall(policy, method, params);
    return "ok";
  } catch (error) {
    if (error instanceof SquadronError) return `${error.code} ${error.details.parameter}`;
    throw error;
  }
};
const create = (policy: Policy, params: Record<string, unknown>) => outcome(policy, "session.create", params);
const send = (policy: Policy, params: Record<string, unknown>) => outcome(policy, "session.send", params);

const closed = policyWith();
const work = policyWith({ workingDirectories: ["/srv/area"] });

describe("attachments", () => {
  test.each([
    { type: "blob", data: "aGk=", mimeType: "text/plain", displayName: "/etc/passwd" },
    { type: "selection", filePath: "/etc/passwd", displayName: "passwd", text: "x", selection: {} },
    {
      type: "github_reference",
      number: 1,
      title: "t",
      referenceType: "issue",
      state: "open",
      url: "https://x",
    },
    { type: "extension_context", title: "t", payload: {} },
  ])("$type carries its content", (attachment) => {
    expect(send(closed, { attachments: [attachment] })).toBe("ok");
  });

  test.each(["file", "directory"])("%s is opened by working directories only", (type) => {
    const attach = (path: unknown) => [
      { type: "blob", data: "" },
      { type, path },
    ];
    expect(send(closed, { attachments: attach("/srv/area/a") })).toBe("parameter_denied attachments[1].path");
    expect(send(work, { attachments: attach("/srv/area/a") })).toBe("ok");
    for (const path of [
      "/srv/area/../secret",
      "/srv/areashop/a",
      "a",
      "../a",
      undefined,
      1,
      "/srv/area/\0",
    ]) {
      expect(send(work, { attachments: attach(path) })).toBe("parameter_denied attachments[1].path");
    }
  });

  test("unknown kinds and parts are refused", () => {
    expect(send(work, { attachments: [{ type: "url" }] })).toBe("parameter_denied attachments[0].type");
    expect(send(work, { attachments: [{ path: "/srv/area/a" }] })).toBe(
      "parameter_denied attachments[0].type",
    );
    expect(send(work, { attachments: [{ type: "blob", assetId: "a" }] })).toBe(
      "parameter_denied attachments[0].assetId",
    );
    expect(send(work, { attachments: "x" })).toBe("invalid_request attachments");
  });
});

test("a message speaks as its user and brings no headers", () => {
  expect(send(closed, { source: "user" })).toBe("ok");
  expect(send(closed, { source: "system" })).toBe("parameter_denied source");
  expect(send(closed, { requestHeaders: { a: "b" } })).toBe("parameter_denied requestHeaders");
  expect(send(closed, { agentMode: "plan" })).toBe("ok");
  expect(send(closed, { agentMode: "shell" })).toBe("parameter_denied agentMode");
});

test("models match with wildcards, wherever they are named", () => {
  const some = policyWith({ models: ["gpt-*", "claude-*-mini", "o1"] });
  for (const model of ["gpt-", "gpt-5.4", "claude-x-mini", "o1"]) expect(create(some, { model })).toBe("ok");
  for (const model of ["GPT-5", "xgpt-5", "claude-mini", "claude--min", "o1x", ""]) {
    expect(create(some, { model })).toBe("model_denied model");
  }
  expect(outcome(some, "session.model.switchTo", { modelId: "o2" })).toBe("model_denied modelId");
  expect(outcome(some, "session.options.update", { model: "o2" })).toBe("model_denied model");
  expect(outcome(some, "session.mode.set", { planModel: "o2" })).toBe("model_denied planModel");
  expect(create(some, { customAgents: [{ name: "a", prompt: "", model: "o2" }] })).toBe(
    "model_denied customAgents[0].model",
  );
  expect(create(policyWith({ models: [] }), { model: "o1" })).toBe("model_denied model");
});

test("MCP servers are opened by type", () => {
  const http = { url: "http://x", type: "http" };
  const stdio = { command: "sh", type: "stdio" };
  const onlyHttp = policyWith({ mcp: { http: true, stdio: false } });
  const onlyStdio = policyWith({ mcp: { http: false, stdio: true } });
  expect(create(closed, { mcpServers: {} })).toBe("ok");
  expect(create(closed, { mcpServers: { a: http } })).toBe("parameter_denied mcpServers.a");
  expect(create(onlyHttp, { mcpServers: { a: http, b: { ...http, type: "sse" } } })).toBe("ok");
  expect(create(onlyStdio, { mcpServers: { a: http } })).toBe("parameter_denied mcpServers.a");
  for (const server of [
    stdio,
    { command: "sh" },
    { command: "sh", type: "local" },
    { ...http, command: "sh" },
    {},
  ]) {
    expect(create(onlyHttp, { mcpServers: { a: server } })).toBe("parameter_denied mcpServers.a");
  }
  expect(create(onlyStdio, { mcpServers: { a: stdio, b: { command: "sh" } } })).toBe("ok");
  expect(create(onlyHttp, { mcpServers: { a: { ...http, type: "ftp" } } })).toBe(
    "invalid_request mcpServers.a.type",
  );
  const agents = [{ name: "x", prompt: "", mcpServers: { a: stdio } }];
  expect(create(onlyHttp, { customAgents: agents })).toBe("parameter_denied customAgents[0].mcpServers.a");
  expect(create(onlyStdio, { customAgents: agents })).toBe("ok");
  expect(create(onlyStdio, { customAgents: [{ name: "x", path: "/etc" }] })).toBe(
    "parameter_denied customAgents[0].path",
  );
  expect(outcome(closed, "session.mcp.startServer", { serverName: "a" })).toBe("parameter_denied serverName");
  expect(outcome(onlyHttp, "session.mcp.startServer", { serverName: "a", config: stdio })).toBe(
    "parameter_denied config",
  );
  expect(outcome(onlyHttp, "session.mcp.apps.callTool", { toolName: "t" })).toBe("parameter_denied toolName");
});

test("a provider of one's own is opened by the policy", () => {
  for (const name of ["provider", "providers", "models"]) {
    const params = { [name]: name === "provider" ? { baseUrl: "http://x" } : [{ name: "x" }] };
    expect(create(closed, params)).toBe(`parameter_denied ${name}`);
    expect(create(policyWith({ provider: true }), params)).toBe("ok");
  }
});

test("directories of the host are opened by the policy", () => {
  expect(create(closed, { workingDirectory: "/srv/area" })).toBe("parameter_denied workingDirectory");
  expect(create(work, { workingDirectory: "/srv/area" })).toBe("ok");
  expect(create(work, { workingDirectory: "/srv" })).toBe("parameter_denied workingDirectory");
  expect(create(work, { additionalDirectories: ["/srv/area/a", "/etc"] })).toBe(
    "parameter_denied additionalDirectories[1]",
  );
  expect(create(work, { largeOutput: { enabled: true, outputDir: "/etc" } })).toBe(
    "parameter_denied largeOutput.outputDir",
  );
  expect(create(closed, { largeOutput: { enabled: true } })).toBe("ok");
  // A relative path would mean another directory in the runtime than here.
  expect(create(policyWith({ workingDirectories: [process.cwd()] }), { workingDirectory: "a" })).toBe(
    "parameter_denied workingDirectory",
  );
  expect(outcome(closed, "session.permissions.paths.add", { path: "/" })).toBe("parameter_denied path");
  expect(outcome(closed, "session.metadata.setWorkingDirectory", { workingDirectory: "/" })).toBe(
    "parameter_denied workingDirectory",
  );
});

test("files of a workspace are named relatively", () => {
  const read = (path: string) => outcome(closed, "session.workspaces.readFile", { path });
  for (const path of ["a", "a/b.txt", "..a", "./a", "a..b/c"]) expect(read(path)).toBe("ok");
  for (const path of ["", "/a", "..", "../a", "a/../../b", "a\\..\\b", "C:\\a", "\\a", "a\0"]) {
    expect(read(path)).toBe("parameter_denied path");
  }
});

test("only harmless commands are invoked", () => {
  const enqueue = (command: string) => outcome(closed, "session.commands.enqueue", { command });
  for (const command of ["/compact", "compact", " /CONTEXT x", "//usage", "/rename /cwd"])
    expect(enqueue(command)).toBe("ok");
  for (const command of [
    "/cwd /",
    "/add-dir /etc",
    "/compactx",
    "/",
    "",
    "x /compact",
    "/plugin install x",
    "\n/cwd",
  ]) {
    expect(enqueue(command)).toBe("parameter_denied command");
  }
  expect(outcome(closed, "session.commands.invoke", { name: "cwd", input: "/" })).toBe(
    "parameter_denied name",
  );
});

test("approvals last no longer than the session", () => {
  const decide = (result: unknown) =>
    outcome(closed, "session.permissions.handlePendingPermissionRequest", { requestId: "r", result });
  for (const kind of ["approve-once", "approve-for-session", "reject", "user-not-available"])
    expect(decide({ kind })).toBe("ok");
  for (const kind of ["approve-permanently", "approve-for-location", "approved-for-location", 1]) {
    expect(decide({ kind })).toBe("parameter_denied result.kind");
  }
});

test("a refusal says which switch opens it", () => {
  try {
    judgeCall(closed, "session.create", { workingDirectory: "/x" });
    expect.unreachable();
  } catch (error) {
    expect(error).toMatchObject({ details: { policy: "allow.workingDirectories" } });
    expect(String(error)).toContain("policy.allow.workingDirectories");
  }
});
