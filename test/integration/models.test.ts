import { readFileSync } from "node:fs";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import type { ProviderConfig } from "../../src/config/config.ts";
import { systemClock } from "../../src/kernel/clock.ts";
import { Secret } from "../../src/kernel/secret.ts";
import type { ModelRoute, Usage } from "../../src/models/grant.ts";
import { createModelGateway } from "../../src/models/model-gateway.ts";
import { shieldClientProviders, shieldProvider } from "../../src/models/shield.ts";
import { textsInMemory } from "../support/process-memory.ts";
import { eventually } from "../support/wait.ts";
import { sse, startProvider, startWsProvider } from "../unit/models/servers.ts";
import { filesHolding, startModelRuntime } from "./models-runtime.ts";

const key = "sk-integration-0f1e2d3c4b5a";

let stack: AsyncDisposableStack;
beforeEach(() => {
  stack = new AsyncDisposableStack();
});
afterEach(() => stack.disposeAsync());

/** A runtime, a gateway, and a provider config for `baseUrl`. */
const start = async (more: { routes?: ModelRoute[]; allowModels?: string[] }) => {
  const usage: { sessionId: string; usage: Usage }[] = [];
  const gateway = createModelGateway({
    config: { connectTimeoutMs: 2_000, idleTimeoutMs: 20_000, retries: 0, caFiles: [] },
    clock: systemClock,
    log: { debug: () => undefined, info: () => undefined, warn: () => undefined },
    grant: () => ({ allowModels: more.allowModels ?? ["*"], routes: more.routes ?? [] }),
    onUsage: (sessionId, seen) => usage.push({ sessionId, usage: seen }),
    environment: {},
  });
  stack.defer(() => gateway.close());
  const runtime = stack.use(await startModelRuntime(gateway));
  return { runtime, usage, gateway };
};

const providerAt = (baseUrl: string, more: Partial<ProviderConfig> = {}): ProviderConfig => ({
  type: "openai",
  baseUrl,
  apiKey: new Secret(key),
  headers: {},
  ...more,
});

const chunk = (content: string) => ({
  id: "c",
  object: "chat.completion.chunk",
  created: 1,
  model: "m1",
  choices: [{ index: 0, delta: { role: "assistant", content } }],
});
const last = {
  ...chunk(""),
  choices: [{ index: 0, delta: {}, finish_reason: "stop" }],
  usage: { prompt_tokens: 10, completion_tokens: 5, total_tokens: 15 },
};
const textOf = (events: readonly { type: string; data: Record<string, unknown> }[]) =>
  events
    .filter(({ type }) => type === "assistant.message")
    .map(({ data }) => data.content)
    .join("");

describe("the real runtime's model calls", () => {
  test("a streamed answer arrives and is counted; the key is nowhere in the runtime", async () => {
    const provider = stack.use(
      await startProvider((_, response) => sse(response, [chunk("hello "), chunk("wörld"), last])),
    );
    const { upstream, routes } = shieldProvider(providerAt(`${provider.url}/real/v1`));
    const { runtime, usage } = await start({ routes });
    await runtime.create("s1", { provider: upstream });
    const times: number[] = [];
    for (let i = 0; i < 10; i++) {
      const began = performance.now();
      const events = await runtime.turn("s1", `prompt ${i}`);
      times.push(performance.now() - began);
      expect(textOf(events)).toBe("hello wörld");
      expect(events.filter(({ type }) => type === "assistant.message_delta").length).toBeGreaterThan(0);
    }
    expect(provider.seen[0]?.url).toBe("/real/v1/chat/completions");
    expect(new Set(provider.seen.map(({ headers }) => headers.authorization))).toEqual(
      new Set([`Bearer ${key}`]),
    );
    expect(usage).toHaveLength(10);
    expect(usage[0]).toEqual({
      sessionId: "s1",
      usage: { inputTokens: 10, outputTokens: 5, cachedTokens: 0, model: "m1" },
    });

    expect(readFileSync(`/proc/${runtime.pid}/environ`, "utf8")).not.toContain(key);
    expect(filesHolding(runtime.home, "prompt 3").length).toBeGreaterThan(0);
    for (const secret of [key, `${provider.port}/real`])
      expect(filesHolding(runtime.home, secret)).toEqual([]);
    // The dummy key is found: so the look itself works.
    const texts = [String(upstream.apiKey), key, `${provider.port}/real`];
    expect([...(await textsInMemory(runtime.pid, texts))]).toEqual(texts.slice(0, 1));
  });

  test("abort cancels the call at the provider", async () => {
    const provider = stack.use(
      await startProvider((_, response) => {
        response.writeHead(200, { "content-type": "text/event-stream" });
        response.write(`data: ${JSON.stringify(chunk("never ends"))}\n\n`);
      }),
    );
    const { upstream, routes } = shieldProvider(providerAt(provider.url));
    const { runtime } = await start({ routes });
    await runtime.create("s1", { provider: upstream });
    await runtime.request("session.send", { sessionId: "s1", prompt: "hi" });
    await eventually(() => runtime.eventsOf("s1").some(({ type }) => type === "assistant.message_delta"), {
      what: "the answer begins",
    });
    expect(provider.seen[0]?.closed).toBe(false);
    await runtime.request("session.abort", { sessionId: "s1" });
    await eventually(() => provider.seen[0]?.closed, { what: "the provider sees the end" });
  });

  test("a 401 ends the turn, without the provider's address or text", async () => {
    const provider = stack.use(
      await startProvider((_, response) => {
        response.writeHead(401, { "content-type": "application/json" });
        response.end(
          JSON.stringify({
            error: { message: `Incorrect key ${key} of org-SECRET`, code: "invalid_api_key" },
          }),
        );
      }),
    );
    const { upstream, routes } = shieldProvider(providerAt(provider.url));
    const { runtime } = await start({ routes });
    await runtime.create("s1", { provider: upstream });
    const events = await runtime.turn("s1", "hi");
    expect(events.find(({ type }) => type === "session.error")?.data.statusCode).toBe(401);
    expect(JSON.stringify(events)).not.toMatch(new RegExp(`${key}|org-SECRET|127\\.0\\.0\\.1`));
    // As often as a bare runtime asks its provider.
    expect(provider.seen).toHaveLength(3);
  });

  test("a model that is not allowed ends the turn with our message", async () => {
    const provider = stack.use(await startProvider((_, response) => sse(response, [last])));
    const { upstream, routes } = shieldProvider(providerAt(provider.url));
    const { runtime } = await start({ routes, allowModels: ["other-*"] });
    await runtime.create("s1", { provider: upstream });
    const error = (await runtime.turn("s1", "hi")).find(({ type }) => type === "session.error");
    expect(error?.data.message).toContain('The model "m1" is not allowed here.');
    expect(provider.seen).toHaveLength(0);
  });

  test("Anthropic and Azure get their key in their own header", async () => {
    const provider = stack.use(
      await startProvider((seen, response) => {
        if (!seen.url.includes("messages")) return sse(response, [chunk("azure"), last]);
        response.writeHead(200, { "content-type": "text/event-stream" });
        for (const event of [
          {
            type: "message_start",
            message: {
              id: "m",
              type: "message",
              role: "assistant",
              model: "m1",
              content: [],
              usage: { input_tokens: 3, output_tokens: 1 },
            },
          },
          { type: "content_block_start", index: 0, content_block: { type: "text", text: "" } },
          { type: "content_block_delta", index: 0, delta: { type: "text_delta", text: "anthropic" } },
          { type: "content_block_stop", index: 0 },
          { type: "message_delta", delta: { stop_reason: "end_turn" }, usage: { output_tokens: 9 } },
          { type: "message_stop" },
        ]) {
          response.write(`event: ${event.type}\ndata: ${JSON.stringify(event)}\n\n`);
        }
        response.end();
      }),
    );
    const anthropic = shieldProvider(providerAt(`${provider.url}/a`, { type: "anthropic" }));
    const first = await start({ routes: anthropic.routes });
    await first.runtime.create("s1", { provider: anthropic.upstream });
    expect(textOf(await first.runtime.turn("s1", "hi"))).toBe("anthropic");
    expect(provider.seen[0]).toMatchObject({ url: "/a/v1/messages", headers: { "x-api-key": key } });
    expect(first.usage[0]?.usage).toMatchObject({ inputTokens: 3, outputTokens: 9 });
    const azure = shieldProvider(providerAt(`${provider.url}/z/openai/v1/`, { type: "azure" }));
    const second = await start({ routes: azure.routes });
    await second.runtime.create("s1", { provider: azure.upstream });
    expect(textOf(await second.runtime.turn("s1", "hi"))).toBe("azure");
    expect(provider.seen[1]).toMatchObject({
      url: "/z/openai/v1/chat/completions",
      headers: { "api-key": key },
    });
  });

  test("a client's two providers at one address each get their own key", async () => {
    const provider = stack.use(await startProvider((_, response) => sse(response, [chunk("ok"), last])));
    const { params, routes } = shieldClientProviders({
      providers: [
        { name: "one", type: "openai", baseUrl: `${provider.url}/v1`, apiKey: "key-one" },
        { name: "two", type: "openai", baseUrl: `${provider.url}/v1`, apiKey: "key-two" },
      ],
      models: [
        { id: "m1", provider: "one" },
        { id: "m2", provider: "two" },
      ],
    });
    const { runtime } = await start({ routes });
    await runtime.create("s1", { ...params, model: "two/m2" });
    await runtime.create("s2", { ...params, model: "one/m1" });
    expect(textOf(await runtime.turn("s1", "hi"))).toBe("ok");
    expect(textOf(await runtime.turn("s2", "hi"))).toBe("ok");
    expect(provider.seen.map(({ headers }) => headers.authorization)).toEqual([
      "Bearer key-two",
      "Bearer key-one",
    ]);
  });

  test("websocket providers: one socket serves several turns; where there is none, HTTP does", async () => {
    const answer = (client: { send(text: string): void }) => {
      const item = {
        type: "message",
        id: "i",
        role: "assistant",
        status: "completed",
        content: [{ type: "output_text", text: "ws", annotations: [] }],
      };
      const response = {
        id: "r",
        object: "response",
        model: "m1",
        status: "in_progress",
        output: [] as unknown[],
      };
      const usage = { input_tokens: 4, output_tokens: 2, total_tokens: 6 };
      client.send(JSON.stringify({ type: "response.created", sequence_number: 0, response }));
      client.send(
        JSON.stringify({
          type: "response.output_item.added",
          sequence_number: 1,
          output_index: 0,
          item: { ...item, content: [] },
        }),
      );
      client.send(
        JSON.stringify({
          type: "response.output_text.delta",
          sequence_number: 2,
          item_id: "i",
          output_index: 0,
          content_index: 0,
          delta: "ws",
        }),
      );
      client.send(
        JSON.stringify({ type: "response.output_item.done", sequence_number: 3, output_index: 0, item }),
      );
      client.send(
        JSON.stringify({
          type: "response.completed",
          sequence_number: 4,
          response: { ...response, status: "completed", output: [item], usage },
        }),
      );
    };
    const sockets = stack.use(await startWsProvider(answer));
    const { upstream, routes } = shieldProvider(
      providerAt(`${sockets.url}/v1`, { wireApi: "responses", transport: "websockets" }),
    );
    const { runtime, usage } = await start({ routes });
    await runtime.create("s1", { provider: upstream });
    for (let i = 0; i < 3; i++) expect(textOf(await runtime.turn("s1", "hi"))).toBe("ws");
    expect(sockets.clients[0]?.headers.authorization).toBe(`Bearer ${key}`);
    expect(usage.map((entry) => entry.usage.inputTokens)).toEqual([4, 4, 4]);

    const refused: string[] = [];
    const plain = stack.use(
      await startProvider((seen, response) => {
        refused.push(seen.url);
        response.writeHead(402, { "content-type": "application/json" }).end("{}");
      }),
    );
    const other = shieldProvider(
      providerAt(`${plain.url}/v1`, { wireApi: "responses", transport: "websockets" }),
    );
    const second = await start({ routes: other.routes });
    await second.runtime.create("s1", { provider: other.upstream });
    const events = await second.runtime.turn("s1", "hi");
    expect(events.find(({ type }) => type === "session.error")?.data.statusCode).toBe(402);
    expect(plain.seen.some(({ body }) => body.length > 0)).toBe(true);
  });
});
