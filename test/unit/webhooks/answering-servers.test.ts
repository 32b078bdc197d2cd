import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { HttpMcpServer } from "../../../src/config/http-sessions.ts";
import { Secret } from "../../../src/kernel/secret.ts";
import { createLog } from "../../../src/telemetry/log.ts";
import { createWebhooks, type Webhooks } from "../../../src/webhooks/webhooks.ts";
import { ManualClock } from "../../support/manual-clock.ts";
import { answerMcp, startToolServer } from "../../support/tool-server.ts";
import { eventually } from "../../support/wait.ts";
import { deadPort } from "../models/servers.ts";

const token = "Bearer mcp-token-123456";
const serverAt = (url: string): HttpMcpServer => ({
  url,
  headers: { Authorization: new Secret(token) },
  tools: ["*"],
  needsPermission: true,
});

describe("MCP servers that answer", () => {
  let stack: AsyncDisposableStack;
  let clock: ManualClock;
  let webhooks: Webhooks;
  let lines: string[];
  beforeEach(() => {
    stack = new AsyncDisposableStack();
    clock = new ManualClock();
    lines = [];
    webhooks = createWebhooks({
      config: { connectTimeoutMs: 5_000, idleTimeoutMs: 60_000, retries: 0, caFiles: [] },
      clock,
      log: createLog({ level: "debug", destination: { write: (line: string) => void lines.push(line) } }),
      environment: {},
    });
    stack.defer(() => webhooks.close());
  });
  afterEach(() => stack.disposeAsync());

  it("are those that say anything, and they are not asked again at once", async () => {
    const server = stack.use(
      await startToolServer({ "/mcp": answerMcp, "/no": (_, response) => response.writeHead(401).end() }),
    );
    const good = serverAt(`${server.url}/mcp`);
    const refusing = serverAt(`${server.url}/no`);
    expect(await webhooks.answering({ good, refusing })).toEqual({ good, refusing });
    expect(server.asked.map(({ headers }) => headers.authorization)).toEqual([token, token]);
    clock.advance(9_999);
    await webhooks.answering({ good });
    expect(server.asked).toHaveLength(2);
    clock.advance(1);
    await webhooks.answering({ good });
    expect(server.asked).toHaveLength(3);
  });

  it("are not those that nobody serves", async () => {
    const answer = webhooks.answering({ gone: serverAt(`http://127.0.0.1:${await deadPort()}`) });
    // It is tried once more, a moment later.
    await eventually(() => clock.pending > 1, { what: "the pause before the second try" });
    clock.advance(100);
    expect(await answer).toEqual({});
    expect(lines.join("")).toContain("provider_unreachable");
  });

  it("are not those that say nothing, until they do", async () => {
    let talks = false;
    const server = stack.use(
      await startToolServer({ "/": (asked, response) => (talks ? answerMcp(asked, response) : undefined) }),
    );
    const late = serverAt(`${server.url}/`);
    const answer = webhooks.answering({ late });
    await eventually(() => server.asked.length === 1, { what: "it is asked" });
    clock.advance(3_000);
    expect(await answer).toEqual({});
    await eventually(() => server.asked[0]?.cut, { what: "the connection is cut" });
    expect(lines.join("")).toContain("silent");
    expect(lines.join("")).not.toContain(token);
    talks = true;
    clock.advance(10_000);
    expect(await webhooks.answering({ late })).toEqual({ late });
  });
});
