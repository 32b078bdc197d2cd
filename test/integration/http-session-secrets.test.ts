import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { onlyReads } from "../../src/gateway/session-calls.ts";
import { Secret } from "../../src/kernel/secret.ts";
import { createLog } from "../../src/telemetry/log.ts";
import { methodEntries } from "../../src/wire/method-table.ts";
import { httpOf } from "../support/http-client.ts";
import { textsInMemory } from "../support/process-memory.ts";
import { connectRaw, type RawClient } from "../support/raw-client.ts";
import { startTestNode, type TestNode, users } from "../support/test-node.ts";
import {
  answerMcp,
  hookSecret,
  startToolServer,
  type ToolServer,
  webhookTool,
} from "../support/tool-server.ts";

/** Put together, so that only the process under test can have them whole. */
const hookToken = ["hook", "header", "credential", String(process.pid)].join("-");
const mcpToken = ["mcp", "header", "credential", String(process.pid)].join("-");
const canary = ["CANARY", "ARGUMENT", String(process.pid)].join("-");

describe.runIf(process.platform === "linux")("credentials of the tools that a policy gives", () => {
  let squadron: TestNode;
  let server: ToolServer;
  let path: string;
  const lines: string[] = [];
  beforeAll(async () => {
    server = await startToolServer({
      "/hook": (_, response) => response.end("done"),
      "/breaks": ({ headers }, response) =>
        response.writeHead(500).end(`no order for ${headers.authorization} ${hookSecret}`),
      "/mcp": answerMcp,
    });
    squadron = await startTestNode({
      log: createLog({ level: "trace", destination: { write: (line: string) => void lines.push(line) } }),
      policy: {
        httpSessions: {
          tools: [
            webhookTool("act", `${server.url}/hook`, {
              headers: { authorization: new Secret(`Bearer ${hookToken}`) },
            }),
            webhookTool("breaks", `${server.url}/breaks`, {
              headers: { authorization: new Secret(`Bearer ${hookToken}`) },
            }),
          ],
          mcpServers: {
            issues: {
              url: `${server.url}/mcp`,
              headers: { authorization: new Secret(`Bearer ${mcpToken}`) },
              tools: ["find"],
              needsPermission: false,
            },
          },
        },
      },
    });
    const http = httpOf(squadron);
    const { body } = await http.call("alice", "POST", "/v1/sessions", { name: "s" });
    path = `/v1/sessions/${body.id}`;
    const answer = await http.call("alice", "POST", `${path}/messages`, {
      prompt: `[[call act {"text":"${canary}"}]] [[call issues-find {}]]`,
    });
    expect(answer.body.content).toBe("act said: done issues-find said: found {}");
    expect(server.asked.some(({ headers }) => headers.authorization === `Bearer ${hookToken}`)).toBe(true);
    const called = server.asked.find(({ body }) => body.includes("tools/call"));
    expect(called?.headers.authorization).toBe(`Bearer ${mcpToken}`);
  });
  afterAll(async () => {
    await squadron.stop();
    await server[Symbol.asyncDispose]();
  });

  it.runIf(process.getuid?.() === 0)("a webhook's are not in the runtime's memory", async () => {
    const [pid] = squadron.node.fleet.list().flatMap((runtime) => runtime.pid ?? []);
    const found = await textsInMemory(pid ?? 0, [hookSecret, hookToken, `${server.url}/hook`, canary]);
    expect([...found]).toEqual([canary]);
  });

  it("are in no file of the node or its runtimes", async () => {
    const files = await readdir(squadron.directory, { recursive: true, withFileTypes: true });
    const holding: string[] = [];
    for (const file of files.filter((entry) => entry.isFile())) {
      const content = await readFile(join(file.parentPath, file.name));
      for (const text of [hookSecret, hookToken, mcpToken, canary])
        if (content.includes(text)) holding.push(text);
    }
    expect(new Set(holding)).toEqual(new Set([canary]));
  });

  it("are in no line of the log, whatever goes wrong", async () => {
    const http = httpOf(squadron);
    const { body } = await http.call("alice", "POST", `${path}/messages`, {
      prompt: "[[call breaks {}]] [[call issues-find {}]]",
    });
    expect(body.content).toContain("status 500");
    for (const { pid } of squadron.node.fleet.list()) if (pid !== undefined) process.kill(pid, "SIGKILL");
    await http.call("alice", "POST", `${path}/messages`, { prompt: "[[echo again]]" });
    const log = lines.join("");
    expect(log).toContain("a webhook answered with an error");
    expect(log).toContain("no order for");
    for (const secret of [hookSecret, hookToken, mcpToken]) expect(log).not.toContain(secret);
  });

  it("are told to no client, whatever it asks", async () => {
    const alice: RawClient = await connectRaw(squadron.node.sdk.port, users.alice.key);
    await alice.ask("session.resume", { sessionId: "s" });
    const asked: string[] = [];
    for (const { method, scope, params } of methodEntries()) {
      if (scope !== "session" || !onlyReads(method)) continue;
      const answer = await alice.call(method, {
        sessionId: "s",
        ...("serverName" in params && { serverName: "issues" }),
      });
      if (answer.kind === "result") asked.push(method);
    }
    expect(asked).toContain("session.mcp.list");
    const { body } = await httpOf(squadron).call("alice", "GET", `${path}/messages?view=events`);
    const received = alice.received() + JSON.stringify(body);
    expect(received).toContain(canary);
    for (const secret of [hookSecret, hookToken, mcpToken]) {
      const at = received.indexOf(secret);
      expect(at < 0 ? "" : received.slice(at - 600, at + 100)).toBe("");
    }
    await alice.close();
  });
});
