import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { loadConfig } from "../../../src/config/load.ts";
import { Secret } from "../../../src/kernel/secret.ts";
import { signatureHeaders } from "../../../src/webhooks/signature.ts";
import { type TempDir, tempDir } from "../../support/temp.ts";
import { hookSecret } from "../../support/tool-server.ts";

type Verify = (secret: string, headers: Record<string, string>, body: Buffer) => void;

describe("docs/tools.md", () => {
  let directory: TempDir;
  let page: string;
  beforeAll(async () => {
    directory = await tempDir("tools-page");
    page = await readFile(new URL("../../../docs/tools.md", import.meta.url), "utf8");
  });
  afterAll(() => directory.remove());

  const block = async (language: string, name: string): Promise<string> => {
    const [, text = ""] = new RegExp(`\`\`\`${language}\n([^]*?)\`\`\``).exec(page) ?? [];
    const file = join(directory.path, name);
    await writeFile(file, text);
    return file;
  };

  it("has a configuration that is right", async () => {
    const env = { HOOK_SECRET: hookSecret, ISSUES_TOKEN: "Bearer x" };
    const { defaults } = await loadConfig({ file: await block("yaml", "squadron.yaml"), env });
    expect(defaults.httpSessions.tools.map(({ name }) => name)).toEqual(["lookup_order"]);
    expect(Object.keys(defaults.httpSessions.mcpServers)).toEqual(["issues"]);
  });

  it("has a check that takes what the node has signed, and nothing else", async () => {
    const { verify } = (await import(pathToFileURL(await block("js", "verify.mjs")).href)) as {
      verify: Verify;
    };
    const body = '{"tool":"t","arguments":{"text":"grüß dich"}}';
    const signed = (now: number) => signatureHeaders({ secret: new Secret(hookSecret), id: "r1", now, body });
    const now = Date.now();
    verify(hookSecret, signed(now), Buffer.from(body));
    const several = `v1,AAAA v2,x ${signed(now)["webhook-signature"]}`;
    verify(hookSecret, { ...signed(now), "webhook-signature": several }, Buffer.from(body));
    const refused: readonly [Record<string, string>, string][] = [
      [signed(now), `${body} `],
      [{ ...signed(now), "webhook-id": "r2" }, body],
      [{ ...signed(now), "webhook-signature": "v1,AAAA" }, body],
      [{ ...signed(now), "webhook-timestamp": "soon" }, body],
      [signed(now - 301_000), body],
      [signed(now + 302_000), body],
    ];
    for (const [headers, text] of refused)
      expect(() => verify(hookSecret, headers, Buffer.from(text)), JSON.stringify(headers)).toThrow();
    const other = `whsec_${Buffer.alloc(32, 7).toString("base64")}`;
    expect(() => verify(other, signed(now), Buffer.from(body))).toThrow();
  });
});
