import { createHmac } from "node:crypto";
import { defineTool } from "@github/copilot-sdk";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { HttpSessions } from "../../src/config/http-sessions.ts";
import { Secret } from "../../src/kernel/secret.ts";
import { httpOf } from "../support/http-client.ts";
import { connectRaw } from "../support/raw-client.ts";
import { startTestNode, type TestNode, type TestNodeOptions, users } from "../support/test-node.ts";
import {
  answerMcp,
  hookSecret,
  startToolServer,
  type ToolServer,
  webhookTool,
} from "../support/tool-server.ts";
import { sayIn } from "../support/victim.ts";
import { eventually } from "../support/wait.ts";
import { deadPort } from "../unit/models/servers.ts";

const mcpSecret = "Bearer mcp-credential-0123456789";

describe("sessions made over HTTP", () => {
  let stack: AsyncDisposableStack;
  let server: ToolServer;
  beforeEach(async () => {
    stack = new AsyncDisposableStack();
    server = stack.use(
      await startToolServer({
        "/orders": ({ body }, response) => response.end(`sent ${JSON.parse(body).arguments.order}`),
        "/fails": (_, response) => response.writeHead(503).end(`10.9.8.7 is down, ${hookSecret}`),
        "/never": () => undefined,
        "/mcp": answerMcp,
      }),
    );
  });
  afterEach(() => stack.disposeAsync());

  const start = async (
    httpSessions: Partial<HttpSessions>,
    options: TestNodeOptions = {},
  ): Promise<TestNode> => {
    const policy = { httpSessions: { tools: [], mcpServers: {}, ...httpSessions }, ...options.policy };
    return stack.use(await startTestNode({ ...options, policy }));
  };
  const talk = async (node: TestNode, asked: Record<string, unknown> = {}) => {
    const http = httpOf(node);
    const { body } = await http.call("alice", "POST", "/v1/sessions", { name: "s", ...asked });
    const path = `/v1/sessions/${body.id}`;
    return {
      path,
      id: String(body.id),
      say: async (prompt: string): Promise<unknown> => {
        const answer = await http.call("alice", "POST", `${path}/messages`, { prompt });
        return answer.body.content ?? answer.body.code;
      },
    };
  };
  const tool = (name: string, path: string, given?: Parameters<typeof webhookTool>[2]) =>
    webhookTool(name, server.url + path, given);

  it("have the policy's tools, whose calls the node answers by a signed request", async () => {
    const node = await start({ tools: [tool("lookup_order", "/orders")] });
    const { say, id, path } = await talk(node);
    expect(await say("[[tools]]")).toBe("lookup_order");
    expect(await say('[[call lookup_order {"order":"A1"}]]')).toBe("lookup_order said: sent A1");
    const [asked] = server.asked;
    const content = JSON.parse(asked?.body ?? "");
    const { body: turns } = await httpOf(node).call("alice", "GET", `${path}/turns`);
    expect(content).toEqual({
      tool: "lookup_order",
      arguments: { order: "A1" },
      session: id,
      turnId: (turns.turns as { id: string }[])[0]?.id,
      user: "alice",
      tenant: "acme",
      requestId: asked?.headers["webhook-id"],
    });
    const {
      "webhook-id": name,
      "webhook-timestamp": at,
      "webhook-signature": signature,
    } = asked?.headers ?? {};
    const key = Buffer.from(hookSecret.slice("whsec_".length), "base64");
    expect(signature).toBe(
      `v1,${createHmac("sha256", key).update(`${name}.${at}.${asked?.body}`).digest("base64")}`,
    );
  });

  it("tell the web service whose message it is, of all who take part", async () => {
    const node = await start({ tools: [tool("lookup_order", "/orders")] });
    const { path } = await talk(node);
    const http = httpOf(node);
    await http.call("alice", "PUT", `${path}/participants/bob`, { role: "writer" });
    for (const user of ["bob", "alice"] as const) {
      const prompt = `[[call lookup_order {"order":"of ${user}"}]]`;
      const { body } = await http.call(user, "POST", `${path}/messages`, { prompt });
      expect(body.content).toBe(`lookup_order said: sent of ${user}`);
    }
    expect(server.asked.map(({ body }) => JSON.parse(body).user)).toEqual(["bob", "alice"]);
  });

  it("and one-shot prompts have them, sessions of SDK clients do not", async () => {
    const node = await start({
      tools: [tool("lookup_order", "/orders")],
      systemMessage: { mode: "append", content: "MARK" },
    });
    const { body } = await httpOf(node).call("alice", "POST", "/v1/prompts", {
      prompt: '[[knows MARK]] [[call lookup_order {"order":"A2"}]]',
    });
    expect(body.content).toBe("yes lookup_order said: sent A2");
    const alice = await connectRaw(node.node.sdk.port, users.alice.key);
    await alice.ask("session.create", { sessionId: "sdk" });
    expect(await sayIn(alice, "sdk", "[[knows MARK]] [[echo .]] [[tools]]")).toBe("no . ");
    await alice.close();
  });

  it("keep them in another runtime and after a restart of the node, where a changed policy counts", async () => {
    const first = await startTestNode({
      policy: { httpSessions: { tools: [tool("old", "/orders")], mcpServers: {} } },
    });
    const { say } = await talk(first);
    expect(await say('[[call old {"order":"1"}]]')).toBe("old said: sent 1");
    for (const { pid } of first.node.fleet.list()) if (pid !== undefined) process.kill(pid, "SIGKILL");
    await eventually(() => first.node.fleet.list().length === 0, { what: "the runtime is gone" });
    expect(await say('[[call old {"order":"2"}]]')).toBe("old said: sent 2");
    const { directory, model } = first;
    await first.node.close();
    stack.defer(async () => {
      await model.close();
      await first.stop();
    });
    const next = await start({ tools: [tool("new", "/orders")] }, { directory, model });
    const { body } = await httpOf(next).call("alice", "GET", "/v1/sessions");
    const path = `/v1/sessions/${(body.sessions as { id: string }[])[0]?.id}`;
    const answer = await httpOf(next).call("alice", "POST", `${path}/messages`, {
      prompt: '[[tools]] [[call new {"order":"3"}]]',
    });
    expect(answer.body.content).toBe("new new said: sent 3");
  });

  it("tell the model what went wrong without an inner address or secret", async () => {
    const tools = [tool("fails", "/fails"), tool("slow", "/never", { timeoutMs: 300 })];
    const { say } = await talk(await start({ tools }));
    expect(await say("[[call fails {}]] [[call slow {}]]")).toBe(
      "fails said: The tool's web service failed with status 503. slow said: The tool did not answer within 300ms.",
    );
  });

  it("leave a web service when the turn is aborted or the runtime dies", async () => {
    const node = await start({ tools: [tool("waits", "/never")] });
    const { say, path } = await talk(node);
    const aborted = say("[[call waits {}]]");
    await eventually(() => server.asked.length === 1, { what: "it is asked" });
    await httpOf(node).call("alice", "POST", `${path}/abort`, {});
    expect(await aborted).toBe("turn_aborted");
    await eventually(() => server.asked[0]?.cut, { what: "the aborted call is cut" });
    const interrupted = say("[[call waits {}]]");
    await eventually(() => server.asked.length === 2, { what: "it is asked again" });
    for (const { pid } of node.node.fleet.list()) if (pid !== undefined) process.kill(pid, "SIGKILL");
    expect(await interrupted).toBe("turn_interrupted");
    await eventually(() => server.asked[1]?.cut, { what: "the interrupted call is cut" });
    expect(await say("[[echo on]]")).toBe("on");
  });

  it("call the policy's tool, whatever an SDK client of the owner declares under its name", async () => {
    const node = await start({ tools: [tool("lookup_order", "/orders")] });
    const { say } = await talk(node);
    const called: string[] = [];
    const own = (name: string) =>
      defineTool(name, {
        description: "d",
        parameters: { type: "object", properties: {} },
        skipPermission: true,
        handler: () => {
          called.push(name);
          return "forged";
        },
      });
    const client = node.client("alice");
    const session = await client.resumeSession("s", { tools: [own("lookup_order"), own("mine")] });
    expect(await say('[[call lookup_order {"order":"A1"}]] [[call mine {}]]')).toBe(
      "lookup_order said: sent A1 mine said: forged",
    );
    expect(called).toEqual(["mine"]);
    await session.disconnect();
  });

  it("let no client answer for the policy's tool", async () => {
    const node = await start({ tools: [tool("waits", "/never", { timeoutMs: 2_000 })] });
    const { say } = await talk(node);
    const alice = await connectRaw(node.node.sdk.port, users.alice.key);
    await alice.ask("session.resume", { sessionId: "s" });
    const answer = say("[[call waits {}]]");
    const call = await eventually(() => alice.events("external_tool.requested")[0], { what: "the call" });
    const requestId = (call.data as { requestId: string }).requestId;
    expect(
      await alice.ask("session.tools.handlePendingToolCall", { sessionId: "s", requestId, result: "forged" }),
    ).toEqual({ success: false });
    expect(await answer).toBe("waits said: The tool did not answer within 2s.");
    await alice.close();
  });

  it("that are one-shot prompts ask nobody: what needs permission is denied at once, what does not is done", async () => {
    const mcp = (needsPermission: boolean) => ({
      url: `${server.url}/mcp`,
      headers: {},
      tools: ["*"],
      needsPermission,
    });
    const node = await start({
      tools: [tool("act", "/orders", { needsPermission: true })],
      mcpServers: { open: mcp(false), asking: mcp(true) },
    });
    // The answer would otherwise come after `callbackTimeout`, which is two minutes here.
    const { body } = await httpOf(node).call("alice", "POST", "/v1/prompts", {
      prompt: "[[call act {}]] [[call asking-find {}]] [[call open-find {}]]",
    });
    expect(body.content).toMatch(
      /^act said: Permission denied.* asking-find said: Permission denied.* open-find said: found \{\}$/,
    );
    expect(server.asked.some(({ path }) => path === "/orders")).toBe(false);
  });

  it("have the policy's MCP servers, asked by the runtime with their headers", async () => {
    const mcpServers = {
      issues: {
        url: `${server.url}/mcp`,
        headers: { authorization: new Secret(mcpSecret) },
        tools: ["*"],
        needsPermission: false,
      },
    };
    const { say } = await talk(await start({ mcpServers }));
    expect(await say('[[tools]] [[call issues-find {"query":"crash"}]]')).toBe(
      'issues-find issues-find said: found {"query":"crash"}',
    );
    const headers = server.asked.map((one) => one.headers.authorization);
    expect(new Set(headers)).toEqual(new Set([mcpSecret]));
  });

  it("have their own tenant's, also in a runtime that tenants share", async () => {
    const other = stack.use(await startToolServer({ "/mcp": answerMcp }));
    const of = (url: string, token: string) => ({
      httpSessions: {
        tools: [],
        mcpServers: {
          issues: {
            url: `${url}/mcp`,
            headers: { authorization: new Secret(token) },
            tools: ["*"],
            needsPermission: false,
          },
        },
      },
    });
    const tenants = { acme: of(server.url, "Bearer of-acme"), globex: of(other.url, "Bearer of-globex") };
    const node = stack.use(await startTestNode({ isolation: "shared", tenants }));
    const http = httpOf(node);
    for (const user of ["alice", "carol", "alice"] as const) {
      const { body } = await http.call(user, "POST", "/v1/sessions", {});
      const answer = await http.call(user, "POST", `/v1/sessions/${body.id}/messages`, {
        prompt: `[[call issues-find {"query":"${user}"}]]`,
      });
      expect(answer.body.content).toBe(`issues-find said: found {"query":"${user}"}`);
    }
    expect(node.node.fleet.list()).toHaveLength(1);
    const tokens = ({ asked }: ToolServer) => [...new Set(asked.map(({ headers }) => headers.authorization))];
    expect(tokens(server)).toEqual(["Bearer of-acme"]);
    expect(tokens(other)).toEqual(["Bearer of-globex"]);
    expect(server.asked.some(({ body }) => body.includes("carol"))).toBe(false);
  });

  it("are opened without an MCP server that does not answer, of which they hear nothing", async () => {
    const mcp = (url: string) => ({ url, headers: {}, tools: ["*"], needsPermission: false });
    const dead = `http://127.0.0.1:${await deadPort()}/mcp`;
    const silent = `${server.url}/never`;
    const node = await start({
      tools: [tool("lookup_order", "/orders")],
      mcpServers: { dead: mcp(dead), silent: mcp(silent), issues: mcp(`${server.url}/mcp`) },
    });
    const { say } = await talk(node);
    const alice = await connectRaw(node.node.sdk.port, users.alice.key);
    await alice.ask("session.resume", { sessionId: "s" });
    expect(await say("[[tools]]")).toBe("issues-find, lookup_order");
    await alice.ask("session.mcp.list", { sessionId: "s" });
    expect(alice.received()).toContain("issues");
    expect(alice.received()).not.toContain(dead);
    await alice.close();
  });

  it("ask somebody before a tool or an MCP server that needs it, and nobody there is a no", async () => {
    const mcpServers = {
      issues: { url: `${server.url}/mcp`, headers: {}, tools: ["find"], needsPermission: true },
    };
    const tools = [tool("lookup_order", "/orders", { needsPermission: true })];
    const node = await start({ tools, mcpServers }, { limits: { callbackTimeoutMs: 500 } });
    const { say } = await talk(node);
    expect(await say('[[call lookup_order {"order":"A1"}]] [[call issues-find {}]]')).toMatch(
      /^lookup_order said: Permission denied.*issues-find said: Permission denied/,
    );
    expect(server.asked.some(({ path, body }) => path === "/orders" || body.includes("tools/call"))).toBe(
      false,
    );
    const client = node.client("alice");
    const kinds: string[] = [];
    const session = await client.resumeSession("s", {
      onPermissionRequest: ({ kind }) => {
        kinds.push(kind);
        return { kind: "approve-once" };
      },
    });
    expect(await say('[[call lookup_order {"order":"A1"}]] [[call issues-find {}]]')).toBe(
      "lookup_order said: sent A1 issues-find said: found {}",
    );
    expect(kinds).toEqual(["custom-tool", "mcp"]);
    await session.disconnect();
  });

  it("ask for permission over HTTP, and the tool itself is nobody's to answer there", async () => {
    const held: (() => void)[] = [];
    const slow = stack.use(
      await startToolServer({ "/held": (_, response) => void held.push(() => response.end("really done")) }),
    );
    const mcpServers = {
      issues: { url: `${server.url}/mcp`, headers: {}, tools: ["*"], needsPermission: true },
    };
    const tools = [webhookTool("act", `${slow.url}/held`, { needsPermission: true })];
    const node = await start({ tools, mcpServers });
    const { say, path } = await talk(node);
    const http = httpOf(node);
    const open = async () => {
      const { body } = await http.call("alice", "GET", `${path}/requests`);
      return body.requests as { id: string; kind: string; for: string; mayAnswer: boolean }[];
    };
    const decide = async (decision: "allow" | "deny") => {
      const [asked] = await eventually(async () => ((await open()).length > 0 ? open() : undefined), {
        what: "a permission request",
      });
      expect(asked).toMatchObject({ kind: "permission", for: "alice", mayAnswer: true });
      const answer = await http.call("alice", "POST", `${path}/requests/${asked?.id}`, { decision });
      expect(answer.status).toBe(200);
    };
    const allowed = say("[[call act {}]] [[call issues-find {}]]");
    await decide("allow");
    await eventually(() => held.length === 1, { what: "the web service is asked" });
    expect(await open()).toEqual([]);
    const forged = await http.call(
      "alice",
      "POST",
      `${path}/requests/${slow.asked[0]?.headers["webhook-id"]}`,
      {
        result: "forged",
      },
    );
    expect(forged.status).toBeGreaterThanOrEqual(400);
    held[0]?.();
    await decide("allow");
    expect(await allowed).toBe("act said: really done issues-find said: found {}");
    const denied = say("[[call act {}]]");
    await decide("deny");
    expect(await denied).not.toContain("really done");
    expect(slow.asked).toHaveLength(1);
  });

  it.each([
    ["append", "append", "yes yes yes"],
    ["append", "replace", "yes yes no"],
    ["replace", "append", "yes yes no"],
  ] as const)("have the policy's system message (%s) before their own (%s)", async (mode, own, known) => {
    const node = await start({ systemMessage: { mode, content: "POLICY-MARK" } });
    const { say } = await talk(node, { systemMessage: { mode: own, content: "OWN-MARK" } });
    expect(
      await say("[[knows POLICY-MARK\n\nOWN-MARK]] [[knows OWN-MARK]] [[knows You are GitHub Copilot]]"),
    ).toBe(known);
  });
});
