import { cp } from "node:fs/promises";
import { brotliDecompressSync, gunzipSync } from "node:zlib";
import { fastify } from "fastify";
import { request } from "undici";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { HttpApp } from "../../src/http/context.ts";
import { builtPages } from "../../src/http/page-files.ts";
import { pageRoutes } from "../../src/http/page-routes.ts";
import { tempDir } from "../support/temp.ts";
import { startTestNode, type TestNode } from "../support/test-node.ts";

const firstLoad = 150_000;

let squadron: TestNode;
beforeAll(async () => {
  squadron = await startTestNode({ isolation: "shared" });
});
afterAll(() => squadron?.stop());

const get = async (path: string, headers: Record<string, string> = {}) => {
  const answer = await request(`${squadron.baseUrl}${path}`, { headers });
  const bytes = Buffer.from(await answer.body.arrayBuffer());
  return { status: answer.statusCode, headers: answer.headers, bytes, text: bytes.toString() };
};

const assetsOf = (html: string): readonly string[] =>
  [...html.matchAll(/(?:src|href)="(\/chat\/assets\/[^"]+)"/g)].map(([, path = ""]) => path);

describe("the chat room's files", () => {
  it("are less than 150 kB on first load, compressed, and all of the node's own", async () => {
    const index = await get("/chat", { "accept-encoding": "gzip" });
    const html = gunzipSync(index.bytes).toString();
    const assets = assetsOf(html);
    expect(assets.length).toBeGreaterThanOrEqual(3);
    for (const encoding of ["br", "gzip"]) {
      const all = await Promise.all(
        ["/chat", ...assets].map((path) => get(path, { "accept-encoding": encoding })),
      );
      for (const { headers } of all) expect(headers["content-encoding"]).toBe(encoding);
      expect(all.reduce((sum, { bytes }) => sum + bytes.length, 0)).toBeLessThan(firstLoad);
    }
    expect([...html.matchAll(/(?:src|href)="([^"]*)"/g)].map(([, path]) => path)).toEqual(assets);
    expect(html).not.toMatch(/<style|<script(?![^>]* src=)| style=| on\w+=/);
  });

  it("come in the encoding that the client takes, with one tag for each", async () => {
    const [plain, br, gzip] = await Promise.all([
      get("/chat"),
      get("/chat", { "accept-encoding": "gzip, br;q=0.9" }),
      get("/chat", { "accept-encoding": "br;q=0, gzip" }),
    ]);
    expect(plain.headers["content-encoding"]).toBeUndefined();
    expect(br.headers["content-encoding"]).toBe("br");
    expect(gzip.headers["content-encoding"]).toBe("gzip");
    expect(brotliDecompressSync(br.bytes).equals(plain.bytes)).toBe(true);
    expect(gunzipSync(gzip.bytes).equals(plain.bytes)).toBe(true);
    expect(new Set([plain, br, gzip].map(({ headers }) => headers.etag)).size).toBe(3);
  });

  it("are kept for ever if their name says what is in them; the page itself is asked for each time", async () => {
    const index = await get("/chat/ses_whatever");
    expect(index.text).toContain('<div id="root">');
    expect(index.headers["cache-control"]).toBe("no-cache");
    expect((await get("/chat", { "if-none-match": String(index.headers.etag) })).status).toBe(304);
    const [asset = ""] = assetsOf(index.text);
    const { headers } = await get(asset);
    expect(headers["cache-control"]).toBe("public, max-age=31536000, immutable");
    expect((await get(asset, { "if-none-match": String(headers.etag) })).status).toBe(304);
  });

  it("may do nothing but talk to the node", async () => {
    const { headers } = await get("/chat");
    const policy = String(headers["content-security-policy"]);
    expect(policy.split("; ").sort()).toEqual([
      "base-uri 'none'",
      "connect-src 'self'",
      "default-src 'none'",
      "form-action 'none'",
      "frame-ancestors 'none'",
      "img-src 'self'",
      "require-trusted-types-for 'script'",
      "script-src 'self'",
      "style-src 'self'",
      "trusted-types 'none'",
    ]);
    expect(headers["x-content-type-options"]).toBe("nosniff");
    expect(headers["referrer-policy"]).toBe("no-referrer");
  });

  it("are what was built, and nothing else of the disk", async () => {
    for (const path of [
      "/chat/assets/../../../package.json",
      "/chat/assets/..%2f..%2f..%2fpackage.json",
      "/chat/assets/..%2findex.html.br",
      "/chat/assets/nothing.js",
    ])
      expect([path, (await get(path)).status]).toEqual([path, 404]);
    const start = await get("/");
    expect([start.status, start.headers.location]).toEqual([302, "/chat"]);
  });

  it("are missing with a word about how to make them where they have not been built", async () => {
    await using directory = await tempDir("pages");
    const app = fastify();
    pageRoutes(app as unknown as HttpApp, { directory: directory.path });
    const answer = await app.inject({ url: "/chat" });
    expect(answer.body).toContain("npm run build:pages");
    // And are there as soon as they have been.
    await cp(builtPages, directory.path, { recursive: true });
    expect((await app.inject({ url: "/chat" })).statusCode).toBe(200);
    await app.close();
  });
});
