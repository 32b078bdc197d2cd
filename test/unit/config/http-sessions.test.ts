import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { describeConfig } from "../../../src/config/describe.ts";
import { loadConfig } from "../../../src/config/load.ts";
import { SquadronError } from "../../../src/kernel/errors.ts";
import { type TempDir, tempDir } from "../../support/temp.ts";

const key = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const env = { HOOK_SECRET: key, TOKEN: "Bearer of-the-defaults" };

describe("defaults.httpSessions", () => {
  let dir: TempDir;
  beforeEach(async () => {
    dir = await tempDir("config");
  });
  afterEach(() => dir.remove());

  const load = async (text: string) => {
    const file = join(dir.path, "squadron.yaml");
    await writeFile(file, text);
    return loadConfig({ file, env });
  };
  const problemsOf = async (text: string): Promise<readonly string[]> => {
    const error: unknown = await load(text).then(
      () => undefined,
      (reason: unknown) => reason,
    );
    if (!(error instanceof SquadronError)) throw new Error("expected config_invalid", { cause: error });
    return (error.details.problems as readonly string[]).map((line) => line.replace(/^.*squadron.yaml /, ""));
  };

  const whole = `
defaults:
  httpSessions:
    systemMessage: You are the shop's assistant.
    tools:
      - name: lookup_order
        description: Looks an order up.
        parameters: { type: object, properties: { id: { type: string } }, required: [id] }
        needsPermission: false
        webhook:
          url: https://shop.example/hooks/orders
          secret: "\${env:HOOK_SECRET}"
          timeout: 5s
          headers: { authorization: "\${env:TOKEN}" }
    mcpServers:
      issues: { url: https://issues.example/mcp, headers: { authorization: "\${env:TOKEN}" } }
`;

  it("are a system message, tools and MCP servers, with their defaults", async () => {
    const { systemMessage, tools, mcpServers } = (await load(whole)).defaults.httpSessions;
    expect(systemMessage).toEqual({ mode: "append", content: "You are the shop's assistant." });
    const [tool] = tools;
    expect(tool).toMatchObject({
      name: "lookup_order",
      parameters: { type: "object", properties: { id: { type: "string" } }, required: ["id"] },
      needsPermission: false,
      webhook: { url: "https://shop.example/hooks/orders", timeoutMs: 5_000 },
    });
    expect(tool?.webhook.secret.reveal()).toBe(key);
    expect(tool?.webhook.headers.authorization?.reveal()).toBe("Bearer of-the-defaults");
    expect(mcpServers.issues).toMatchObject({ tools: ["*"], needsPermission: true });
    const short = await load(`
defaults:
  httpSessions:
    systemMessage: { mode: replace, content: x }
    tools:
      - { name: t, description: d, webhook: { url: "http://127.0.0.1:8/x", secret: "\${env:HOOK_SECRET}" } }
`);
    expect(short.defaults.httpSessions.systemMessage?.mode).toBe("replace");
    expect(short.defaults.httpSessions.tools[0]).toMatchObject({
      parameters: { type: "object", properties: {} },
      needsPermission: true,
      webhook: { timeoutMs: 30_000, headers: {} },
    });
  });

  it("are shown without their secrets", async () => {
    const shown = JSON.stringify(describeConfig(await load(whole)));
    expect(shown).toContain("https://shop.example/hooks/orders");
    expect(shown).toContain('"timeout":"5s"');
    expect(shown).not.toContain(key);
    expect(shown).not.toContain("of-the-defaults");
  });

  it("are refused with line and key when they are wrong, and no value is repeated", async () => {
    const problems = await problemsOf(`
defaults:
  httpSessions:
    systemMesage: x
    tools:
      - name: "look up"
        description: d
        webhok: {}
        webhook: { url: "http://shop.example/x", secret: not-a-key-at-all, timeout: 20m }
      - name: twice
        description: ""
        parameters: { type: string }
        webhook: { url: "https://u:p@shop.example/x", secret: whsec_c2hvcnQ=, headers: { "Webhook-Id": x } }
      - name: twice
        description: d
        webhook: { url: https://shop.example/x, secret: "\${env:HOOK_SECRET}" }
    mcpServers:
      "a b": { url: https://x.example/ }
      plain: { url: "ftp://x.example/" , headers: { Host: x } }
`);
    expect([...problems].sort()).toEqual([
      "line 11, defaults.httpSessions.tools[1].description: expected what the tool does, 1 to 4000 characters",
      "line 12, defaults.httpSessions.tools[1].parameters: expected a JSON schema of type: object, at most 64KiB",
      "line 13, defaults.httpSessions.tools[1].webhook.headers.Webhook-Id: wrong key: expected HTTP headers, a text each, none of host, connection, keep-alive, transfer-encoding, te, trailer, upgrade, expect, content-type, content-length, content-encoding, accept-encoding, webhook-id, webhook-timestamp, webhook-signature",
      "line 13, defaults.httpSessions.tools[1].webhook.secret: expected whsec_ and the base64 of 24 to 64 bytes (echo whsec_$(openssl rand -base64 32))",
      "line 13, defaults.httpSessions.tools[1].webhook.url: expected an https URL (http on loopback only) without credentials in it",
      "line 18, defaults.httpSessions.mcpServers.a b: wrong key: expected at most 16 MCP servers by name: 1 to 64 letters, digits, _ and -",
      "line 19, defaults.httpSessions.mcpServers.plain.headers.Host: wrong key: expected HTTP headers, a text each, none of host, connection, keep-alive, transfer-encoding, te, trailer, upgrade, expect",
      "line 19, defaults.httpSessions.mcpServers.plain.url: expected an https URL (http on loopback only) without credentials in it",
      'line 4, defaults.httpSessions.systemMesage: unknown key; did you mean "systemMessage"?',
      "line 6, defaults.httpSessions.tools[0].name: expected a tool's name: 1 to 64 letters, digits, _ and -",
      'line 8, defaults.httpSessions.tools[0].webhok: unknown key; did you mean "webhook"?',
      "line 9, defaults.httpSessions.tools[0].webhook.secret: expected whsec_ and the base64 of 24 to 64 bytes (echo whsec_$(openssl rand -base64 32))",
      "line 9, defaults.httpSessions.tools[0].webhook.timeout: expected a duration such as 60s, 5m or 2h, from 100ms to 10m",
      "line 9, defaults.httpSessions.tools[0].webhook.url: expected an https URL (http on loopback only) without credentials in it",
    ]);
    expect(
      await problemsOf(`
defaults:
  httpSessions:
    tools:
      - { name: twice, description: d, webhook: { url: "https://x.example", secret: "\${env:HOOK_SECRET}" } }
      - { name: twice, description: d, webhook: { url: "https://x.example", secret: "\${env:HOOK_SECRET}" } }
`),
    ).toEqual([
      "line 6, defaults.httpSessions.tools[1].name: is the same as tools[0].name; every tool needs a name of its own",
    ]);
  });

  it("go to a tenant, whose own MCP server never gets the headers of the default one", async () => {
    const { acme, globex } = (
      await load(`${whole}
tenants:
  acme: { httpSessions: { mcpServers: { issues: { url: "https://elsewhere.example/" } } } }
  globex: { httpSessions: { tools: [], systemMessage: none } }
`)
    ).tenants;
    expect(acme?.httpSessions.tools).toHaveLength(1);
    expect(acme?.httpSessions.mcpServers.issues?.url).toBe("https://elsewhere.example/");
    expect(acme?.httpSessions.mcpServers.issues?.headers).toEqual({});
    expect(globex?.httpSessions.tools).toEqual([]);
    expect(globex?.httpSessions.systemMessage).toEqual({ mode: "append", content: "none" });
    expect(globex?.httpSessions.mcpServers.issues?.headers.authorization?.reveal()).toBe(
      "Bearer of-the-defaults",
    );
  });

  it("of a tenant that lack something are refused as the tenant's", async () => {
    expect(
      await problemsOf(`${whole}
tenants:
  acme:
    httpSessions: { mcpServers: { issues: { headers: {} } }, tools: [{ name: t, description: d }] }
`),
    ).toEqual([
      "line 20, tenants.acme.httpSessions.tools[0].webhook: is missing: expected a section with url, secret, timeout, headers",
      "line 20, tenants.acme.httpSessions.mcpServers.issues.url: is missing: expected an https URL (http on loopback only) without credentials in it",
    ]);
  });
});
