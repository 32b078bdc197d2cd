import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { Secret } from "../../../src/kernel/secret.ts";
import { modelAllowed } from "../../../src/models/allow.ts";
import type { ModelRoute } from "../../../src/models/grant.ts";
import { resolveRoute, upstreamHeaders } from "../../../src/models/route.ts";
import { shieldClientProviders, shieldProvider } from "../../../src/models/shield.ts";

const revealed = (route: ModelRoute | undefined) =>
  Object.fromEntries(Object.entries(route?.headers ?? {}).map(([name, secret]) => [name, secret.reveal()]));

describe("the policy's provider", () => {
  test.each([
    ["openai", "https://real.example/v7/", "/chat/completions", "https://real.example/v7/chat/completions"],
    [
      "azure",
      "https://r.example/openai/v1/",
      "/openai/v1/responses",
      "https://r.example/openai/v1/responses",
    ],
    ["anthropic", "https://real.example/a", "/v1/messages", "https://real.example/a/v1/messages"],
  ] as const)("%s: the runtime sees neither address nor key", (type, baseUrl, path, target) => {
    const { upstream, routes } = shieldProvider({
      type,
      baseUrl,
      apiKey: new Secret("sk-real"),
      headers: { "X-Team": new Secret("team-secret") },
    });
    expect(JSON.stringify(upstream)).not.toMatch(/real|r\.example|team/i);
    const call = { url: `${upstream.baseUrl}${path}`, headers: {} };
    expect(resolveRoute(routes, call)?.target.href).toBe(target);
    const header = { openai: "authorization", azure: "api-key", anthropic: "x-api-key" }[type];
    expect(revealed(routes[0])).toEqual({
      [header]: type === "openai" ? "Bearer sk-real" : "sk-real",
      "x-team": "team-secret",
    });
  });

  test("a bearer token wins over a key, as in the runtime", () => {
    const { routes } = shieldProvider({
      type: "anthropic",
      baseUrl: "https://a.example",
      apiKey: new Secret("k"),
      bearerToken: new Secret("t"),
      headers: {},
    });
    expect(revealed(routes[0])).toEqual({ authorization: "Bearer t" });
  });
});

test("a route covers its prefix at the border of a path segment only", () => {
  const routes = [{ prefix: "http://h.example/v1", target: "https://real.example/a/b", headers: {} }];
  const target = (url: string) => resolveRoute(routes, { url, headers: {} })?.target.href;
  expect(target("http://h.example/v1/x?y=1")).toBe("https://real.example/a/b/x?y=1");
  expect(target("ws://h.example/v1/x")).toBe("https://real.example/a/b/x");
  expect(target("http://h.example/v1")).toBe("https://real.example/a/b");
  for (const url of ["http://h.example/v10/x", "http://h.example/v1@x", "http://h.example/v1/%2e%2e/x"]) {
    expect(target(url), url).toBeUndefined();
  }
});

describe("a client's own providers", () => {
  test("keep their address and lose their secrets; two at one address are told apart", () => {
    const providers = [
      {
        name: "a",
        type: "openai",
        baseUrl: "https://one.example/v1",
        apiKey: "secret-a",
        headers: { "X-K": "secret-h" },
      },
      {
        name: "b",
        type: "anthropic",
        baseUrl: "https://one.example/v1",
        bearerToken: "secret-b",
        wireApi: "responses",
      },
    ];
    const { params, routes } = shieldClientProviders({
      providers,
      models: [{ id: "m", provider: "a" }],
      other: 1,
    });
    expect(JSON.stringify(params)).not.toContain("secret");
    expect(params.models).toEqual([{ id: "m", provider: "a" }]);
    expect(params.other).toBe(1);
    const shown = params.providers as unknown as { apiKey?: string; bearerToken?: string; baseUrl: string }[];
    expect(shown[1]).toMatchObject({ baseUrl: "https://one.example/v1", wireApi: "responses" });
    const call = (headers: Record<string, string[]>) =>
      resolveRoute(routes, { url: "https://one.example/v1/messages", headers })?.route;
    expect(revealed(call({ authorization: [`Bearer ${shown[0]?.apiKey}`] }))).toEqual({
      authorization: "Bearer secret-a",
      "x-k": "secret-h",
    });
    expect(revealed(call({ authorization: [`Bearer ${shown[1]?.bearerToken}`] }))).toEqual({
      authorization: "Bearer secret-b",
    });
    expect(call({ authorization: ["Bearer other"] })).toBeUndefined();
    expect(shieldClientProviders({ providers }).params.providers).toEqual(params.providers);
  });

  test("a token that the client's callback gives passes, and only that", () => {
    const { params, routes } = shieldClientProviders({
      provider: { baseUrl: "http://own.example/v1", hasBearerTokenProvider: true, apiKey: "secret" },
    });
    expect(params.provider).toEqual({ baseUrl: "http://own.example/v1", hasBearerTokenProvider: true });
    const headers = { authorization: ["Bearer from-callback"], "x-api-key": ["x"] };
    const route = resolveRoute(routes, { url: "http://own.example/v1/chat/completions", headers })?.route;
    expect(route && upstreamHeaders(route, headers)).toEqual({
      authorization: "Bearer from-callback",
      "accept-encoding": "identity",
    });
  });

  test("shielding what is shielded already changes nothing that the runtime sees", () => {
    const once = shieldClientProviders({ provider: { baseUrl: "http://own.example/v1", apiKey: "secret" } });
    expect(shieldClientProviders(once.params).params).toEqual(once.params);
  });

  test.each([
    [{ provider: { baseUrl: "ftp://x" } }],
    [{ provider: { baseUrl: "http://user:pw@x/" } }],
    [{ provider: { baseUrl: "http://x/?key=1" } }],
    [{ provider: { baseUrl: "http://models.squadron.internal/v1" } }],
    [{ provider: { baseUrl: 7 } }],
    [{ provider: { baseUrl: "http://x", type: "other" } }],
    [{ provider: { baseUrl: "http://x", apiKey: {} } }],
    [{ provider: { baseUrl: "http://x", headers: [] } }],
    [{ provider: "http://x" }],
    [{ providers: {} }],
  ])("%j is refused", (params) => {
    expect(() => shieldClientProviders(params)).toThrow(/provider/);
  });
});

test("a model pattern means what a regular expression with .* would", () => {
  const text = fc.string({ unit: fc.constantFrom("a", "b", "-", "."), maxLength: 8 });
  const pattern = fc
    .array(fc.constantFrom("a", "b", "*", "ab", "-"), { maxLength: 6 })
    .map((parts) => parts.join(""));
  fc.assert(
    fc.property(pattern, text, (p, t) => {
      const regex = new RegExp(
        `^${p
          .split("*")
          .map((part) => part.replace(/[.]/g, "\\."))
          .join(".*")}$`,
      );
      expect(modelAllowed([p], t)).toBe(regex.test(t));
    }),
  );
});
