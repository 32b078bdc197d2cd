import { describe, expect, it } from "vitest";
import type { HttpMcpServer, HttpSessions } from "../../../src/config/http-sessions.ts";
import { splitParameters, unite } from "../../../src/gateway/declarations.ts";
import { createPolicyCalls } from "../../../src/gateway/policy-calls.ts";
import { policyDeclares, withPolicyMessage, withPolicyTools } from "../../../src/gateway/policy-tools.ts";
import { SquadronError } from "../../../src/kernel/errors.ts";
import type { JsonObject } from "../../../src/kernel/json.ts";
import { Secret } from "../../../src/kernel/secret.ts";
import type { SessionRow } from "../../../src/store/store.ts";
import { createLog } from "../../../src/telemetry/log.ts";
import { createMetrics } from "../../../src/telemetry/metrics.ts";
import type { WebhookAnswer, WebhookCall } from "../../../src/webhooks/webhooks.ts";
import { webhookTool } from "../../support/tool-server.ts";
import { settle } from "./fake-node.ts";

const nothing: HttpSessions = { tools: [], mcpServers: {} };
const issues: HttpMcpServer = {
  url: "https://issues.example/mcp",
  headers: { authorization: new Secret("Bearer x") },
  tools: ["find", "close"],
  needsPermission: true,
};
const act = webhookTool("act", "https://shop.example/act");

describe("the policy's system message", () => {
  const given = (mode: "append" | "replace"): HttpSessions => ({
    ...nothing,
    systemMessage: { mode, content: "P" },
  });
  const messageOf = (mode: "append" | "replace", systemMessage?: JsonObject): unknown =>
    withPolicyMessage(given(mode), systemMessage === undefined ? {} : { systemMessage }).systemMessage;

  it("stands alone, or before the session's own, and what replaces goes on replacing", () => {
    expect(messageOf("append")).toEqual({ mode: "append", content: "P" });
    expect(messageOf("append", { content: "S" })).toEqual({ mode: "append", content: "P\n\nS" });
    expect(messageOf("append", { mode: "replace", content: "S" })).toEqual({
      mode: "replace",
      content: "P\n\nS",
    });
    expect(messageOf("replace", { mode: "append", content: "S" })).toEqual({
      mode: "replace",
      content: "P\n\nS",
    });
  });

  it("goes with the sections that an SDK client customizes", () => {
    const sections = { tone: { action: "remove" } };
    expect(messageOf("append", { mode: "customize", sections })).toEqual({
      mode: "customize",
      sections,
      content: "P",
    });
    expect(messageOf("replace", { mode: "customize", sections, content: "S" })).toMatchObject({
      mode: "replace",
      content: "P\n\nS",
    });
  });

  it("that is none changes nothing", () => {
    const parameters = { systemMessage: { content: "S" } };
    expect(withPolicyMessage(nothing, parameters)).toBe(parameters);
  });
});

describe("the policy's tools", () => {
  const given: HttpSessions = { tools: [act], mcpServers: { issues } };

  it("are declared last, so that no client's counts in their place", () => {
    const { declarations } = splitParameters({
      tools: [{ name: "act", description: "forged", skipPermission: true }, { name: "mine" }],
    });
    const asking = { ...given, tools: [{ ...act, needsPermission: true }] };
    const united = unite([declarations, policyDeclares(asking)]);
    expect(united.requestPermission).toBe(true);
    expect(united.tools).toEqual([
      {
        name: "act",
        description: "What act does",
        parameters: act.parameters,
        skipPermission: false,
        overridesBuiltInTool: true,
      },
      { name: "mine" },
    ]);
  });

  it("are offered beside what the policy allows, unless the client has chosen", () => {
    const enforced = { availableTools: ["builtin:ask_user"] };
    expect(withPolicyTools(given, enforced, {}).availableTools).toEqual([
      "builtin:ask_user",
      "custom:act",
      "mcp:issues-find",
      "mcp:issues-close",
    ]);
    expect(withPolicyTools(given, enforced, { availableTools: ["ask_user"] }).availableTools).toEqual([
      "builtin:ask_user",
    ]);
    expect(withPolicyTools(given, {}, {}).availableTools).toBeUndefined();
    const all = { ...nothing, mcpServers: { issues: { ...issues, tools: ["*"] } } };
    expect(withPolicyTools(all, { availableTools: [] }, {}).availableTools).toEqual(["mcp:*"]);
  });

  it("go before a client's MCP server of the same name", () => {
    const { mcpServers } = withPolicyTools(
      given,
      { mcpServers: { issues: { type: "http", url: "https://forged.example" }, own: { type: "http" } } },
      {},
    );
    expect(mcpServers).toEqual({
      issues: {
        type: "http",
        url: issues.url,
        headers: { authorization: "Bearer x" },
        tools: ["find", "close"],
      },
      own: { type: "http" },
    });
  });
});

describe("calls of the policy's tools", () => {
  const start = () => {
    const asked: { readonly call: WebhookCall; answer(answer: WebhookAnswer): void }[] = [];
    const told: { readonly method: string; readonly params: JsonObject }[] = [];
    const calls = createPolicyCalls({
      given: () => ({ tools: [act], mcpServers: { issues, open: { ...issues, needsPermission: false } } }),
      row: { id: "inner", publicId: "ses_1", tenant: "acme", ephemeral: false } as SessionRow,
      webhooks: {
        answering: async (servers) => servers,
        ask: (call) =>
          new Promise((resolve, reject) => {
            asked.push({ call, answer: resolve });
            call.signal.addEventListener("abort", () => reject(new SquadronError("cancelled", "x")));
          }),
        close: async () => undefined,
      },
      asking: () => ({ turnId: "turn-1", user: "alice" }),
      call: async (method, params) => void told.push({ method, params }),
      onIdle: () => undefined,
      metrics: createMetrics(),
      log: createLog({ level: "silent" }),
    });
    const request = (requestId: string, toolName = "act") =>
      calls.answer("external_tool.requested", { requestId, toolName, arguments: { n: 1 } });
    return { calls, asked, told, request };
  };

  it("are asked once each, however often the runtime tells of them", async () => {
    const { calls, asked, told, request } = start();
    request("r1");
    request("r1");
    expect(asked).toHaveLength(1);
    expect(calls.owns("r1")).toBe(true);
    asked[0]?.answer({ text: "done" });
    await settle();
    expect(told).toEqual([
      { method: "session.tools.handlePendingToolCall", params: { requestId: "r1", result: "done" } },
    ]);
    expect(calls.size).toBe(0);
    expect(calls.owns("r1")).toBe(false);
  });

  it("beyond 32 at once are refused in words for the model", () => {
    const { asked, told, request } = start();
    for (let at = 0; at < 33; at++) request(`r${at}`);
    expect(asked).toHaveLength(32);
    expect(told).toEqual([
      {
        method: "session.tools.handlePendingToolCall",
        params: { requestId: "r32", result: expect.objectContaining({ resultType: "failure" }) },
      },
    ]);
  });

  it.each(["closed", "cleared"])("that are %s are aborted, and answered no more", async (how) => {
    const { calls, asked, told, request } = start();
    request("r1");
    if (how === "closed") calls.closed({ requestId: "r1" });
    else calls.clear();
    expect(asked[0]?.call.signal.aborted).toBe(true);
    await settle();
    expect(told).toEqual([]);
    expect(calls.size).toBe(0);
  });

  it("are not those of other tools, nor permissions that somebody must give", () => {
    const { calls } = start();
    const permission = (serverName: string, kind = "mcp") => ({
      requestId: "p",
      permissionRequest: { kind, serverName },
    });
    expect(calls.concerns("external_tool.requested", { requestId: "r", toolName: "other" })).toBe(false);
    expect(calls.concerns("permission.requested", permission("issues"))).toBe(false);
    expect(calls.concerns("permission.requested", permission("toString"))).toBe(false);
    expect(calls.concerns("permission.requested", permission("open", "shell"))).toBe(false);
    expect(calls.concerns("permission.requested", permission("open"))).toBe(true);
  });
});
