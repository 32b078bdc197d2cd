import { describe, expect, it } from "vitest";
import { revealServers, shieldServers } from "../../../src/gateway/mcp-secrets.ts";

const server = (url: string) => ({ type: "http", url, tools: ["*"] });

describe("the secrets of MCP servers", () => {
  it.each([
    "https://mcp.test/sse?api_key=s3cret",
    "https://user:s3cret@mcp.test/",
    "https://mcp.test/#s3cret",
    "no address at all?s3cret",
  ])("are not written down when they stand in the address, and are given back: %s", (url) => {
    const parameters = {
      mcpServers: { one: server(url), two: server("https://plain.test/mcp") },
      customAgents: [{ name: "a", mcpServers: { three: server(url) } }],
    };
    const { parameters: shown, held } = shieldServers(parameters);
    expect(JSON.stringify(shown)).not.toContain("s3cret");
    expect(shown.mcpServers).toMatchObject({ two: { url: "https://plain.test/mcp" } });
    expect(revealServers(shown, held)).toEqual(parameters);
    expect(() => revealServers(shown, {})).toThrow(expect.objectContaining({ code: "credentials_needed" }));
  });

  it("are not suspected in a plain address: such a session needs nothing from its client after a restart", () => {
    const parameters = { mcpServers: { one: server("https://plain.test/mcp") } };
    const { parameters: shown, held } = shieldServers(parameters);
    expect(held).toEqual({});
    expect(revealServers(shown, {})).toEqual(parameters);
  });
});
