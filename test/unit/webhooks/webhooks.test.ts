import http from "node:http";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { systemClock } from "../../../src/kernel/clock.ts";
import { SquadronError } from "../../../src/kernel/errors.ts";
import { Secret } from "../../../src/kernel/secret.ts";
import { createLog } from "../../../src/telemetry/log.ts";
import { signatureHeaders } from "../../../src/webhooks/signature.ts";
import { createWebhooks, type WebhookAnswer, type Webhooks } from "../../../src/webhooks/webhooks.ts";
import { tempDir } from "../../support/temp.ts";
import { type Answering, hookSecret, startToolServer, webhookTool } from "../../support/tool-server.ts";
import { eventually } from "../../support/wait.ts";
import { deadPort, makeCertificates, startConnectProxy, startProvider } from "../models/servers.ts";

describe("a signature", () => {
  it("is that of the specification's example", () => {
    expect(
      signatureHeaders({
        secret: new Secret("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"),
        id: "msg_p5jXN8AQM9LWM0D4loKWxJek",
        now: 1_614_265_330_999,
        body: '{"test": 2432232314}',
      }),
    ).toEqual({
      "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
      "webhook-timestamp": "1614265330",
      "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    });
  });
});

describe("a webhook", () => {
  let stack: AsyncDisposableStack;
  let lines: string[];
  let webhooks: Webhooks;
  const clock = systemClock;
  beforeEach(() => {
    stack = new AsyncDisposableStack();
    lines = [];
    webhooks = createWebhooks({
      config: { connectTimeoutMs: 5_000, idleTimeoutMs: 60_000, retries: 7, caFiles: [] },
      clock,
      log: createLog({ level: "debug", destination: { write: (line: string) => void lines.push(line) } }),
      environment: {},
    });
    stack.defer(() => webhooks.close());
  });
  afterEach(() => stack.disposeAsync());

  const ask = (
    url: string,
    given: Parameters<typeof webhookTool>[2] & {
      readonly signal?: AbortSignal;
      readonly content?: string;
    } = {},
  ): Promise<WebhookAnswer> =>
    webhooks.ask({
      webhook: webhookTool("t", url, given).webhook,
      id: "req-1",
      content: { tool: "t", arguments: given.content ?? {} },
      signal: given.signal ?? new AbortController().signal,
      about: { session: "s" },
    });
  const server = async (answer: Answering) => stack.use(await startToolServer({ "/": answer }));

  it("gets what it is asked, signed, with the operator's headers, and its text is the answer", async () => {
    const { url, asked } = await server((_, response) => response.end('{"state":"sent"}'));
    const headers = { authorization: new Secret("Bearer hook-token-123"), "X-Team": new Secret("red") };
    expect(await ask(url, { headers })).toEqual({ text: '{"state":"sent"}' });
    const [one] = asked;
    expect(one?.body).toBe('{"tool":"t","arguments":{}}');
    expect(one?.headers).toMatchObject({
      "content-type": "application/json",
      authorization: "Bearer hook-token-123",
      "x-team": "red",
      "webhook-id": "req-1",
    });
    const at = Number(one?.headers["webhook-timestamp"]);
    expect(Math.abs(at - clock.now() / 1000)).toBeLessThan(60);
    expect(one?.headers["webhook-signature"]).toBe(
      signatureHeaders({
        secret: new Secret(hookSecret),
        id: "req-1",
        now: at * 1000,
        body: one?.body ?? "",
      })["webhook-signature"],
    );
  });

  it("that repeats a secret does not show it", async () => {
    const { url } = await server(({ headers }, response) =>
      response.end(`${headers.authorization} ${headers.authorization?.slice(7)} ${hookSecret} red`),
    );
    const headers = { authorization: new Secret("Bearer hook-token-123"), "x-team": new Secret("red") };
    expect(await ask(url, { headers })).toEqual({ text: "[secret] [secret] [secret] red" });
  });

  it.each([
    [500, "The tool's web service failed with status 500."],
    [404, "The tool's web service failed with status 404."],
    [302, "The tool's web service answered with status 302, which leads elsewhere and is not followed."],
  ])("that answers %i is a problem that shows nothing of it, and is asked once", async (status, problem) => {
    const { url, asked } = await server((_, response) =>
      response
        .writeHead(status, { location: "/elsewhere" })
        .end(`db at 10.9.8.7 refused ${hookSecret} for hook-token-123`),
    );
    const headers = { authorization: new Secret("Bearer hook-token-123") };
    expect(await ask(url, { headers })).toEqual({ problem });
    expect(asked).toHaveLength(1);
    const log = lines.join("");
    expect(log).toContain("10.9.8.7");
    expect(log).not.toContain(hookSecret);
    expect(log).not.toContain("hook-token-123");
  });

  it("that says too much is left at the bound", async () => {
    let sent = 0;
    const { url } = await server((_, response) => {
      const more = (): void => {
        while (!response.destroyed && sent < 64 * 2 ** 20) {
          sent += 65_536;
          if (!response.write("x".repeat(65_536))) return void response.once("drain", more);
        }
        response.end();
      };
      more();
    });
    expect(await ask(url)).toEqual({ problem: "The tool's answer is larger than 1MiB." });
    expect(sent).toBeLessThan(64 * 2 ** 20);
  });

  it("may say as much as the bound, and not one byte more", async () => {
    const { url } = await server(({ body }, response) =>
      response.end("x".repeat(2 ** 20 + (body.includes("more") ? 1 : 0))),
    );
    expect(await ask(url)).toEqual({ text: "x".repeat(2 ** 20) });
    expect(await ask(url, { content: "more" })).toEqual({
      problem: "The tool's answer is larger than 1MiB.",
    });
  });

  it("that answers no text is a problem", async () => {
    const { url } = await server((_, response) =>
      response.end(Buffer.from([0x89, 0x50, 0x4e, 0x47, 0xff, 0xfe])),
    );
    expect(await ask(url)).toEqual({ problem: "The tool's answer is not text." });
  });

  it("is not asked with more than a mebibyte", async () => {
    const { url, asked } = await server((_, response) => response.end("ok"));
    expect(await ask(url, { content: "x".repeat(2 ** 20) })).toEqual({
      problem: "The tool's arguments are larger than 1MiB.",
    });
    expect(asked).toEqual([]);
  });

  it.each(["before", "within"])("that is silent %s its answer is left at the deadline", async (when) => {
    const { url, asked } = await server((_, response) => {
      if (when === "within") response.write("so far ");
    });
    expect(await ask(url, { timeoutMs: 300 })).toEqual({ problem: "The tool did not answer within 300ms." });
    await eventually(() => asked[0]?.cut, { what: "the connection is cut" });
  });

  it("is left when nobody wants its answer any more", async () => {
    const { url, asked } = await server(() => undefined);
    const ending = new AbortController();
    const answer = ask(url, { signal: ending.signal });
    await eventually(() => asked.length === 1, { what: "it is asked" });
    ending.abort();
    const error = await answer.catch((reason: unknown) => reason);
    expect(error).toBeInstanceOf(SquadronError);
    expect(error).toMatchObject({ code: "cancelled" });
    await eventually(() => asked[0]?.cut, { what: "the connection is cut" });
  });

  it("that cuts the connection is not asked again: it may have received it", async () => {
    const { url, asked } = await server((_, response) => response.destroy());
    expect(await ask(url)).toEqual({ problem: "The connection to the tool's web service was lost." });
    expect(asked).toHaveLength(1);
  });

  it("that nobody serves is a problem without an address, which the log has no secret of", async () => {
    const port = await deadPort();
    expect(await ask(`http://127.0.0.1:${port}`)).toEqual({
      problem: "The tool's web service cannot be reached.",
    });
    expect(lines.join("")).not.toContain(hookSecret);
  });

  it("is asked by the way of model calls: HTTPS_PROXY, models.caFiles", async () => {
    const directory = stack.use(await tempDir("webhooks-tls"));
    const certificates = makeCertificates(directory.path);
    const shop = stack.use(await startProvider((_, response) => void response.end("sent"), certificates));
    const proxy = stack.use(await startConnectProxy());
    const through = createWebhooks({
      config: { connectTimeoutMs: 5_000, idleTimeoutMs: 60_000, retries: 0, caFiles: [certificates.caFile] },
      clock,
      log: createLog({ level: "silent" }),
      environment: { HTTPS_PROXY: proxy.url },
    });
    stack.defer(() => through.close());
    const call = (how: Webhooks): Promise<WebhookAnswer> =>
      how.ask({
        webhook: webhookTool("t", `${shop.url}/`).webhook,
        id: "r",
        content: {},
        signal: new AbortController().signal,
        about: {},
      });
    expect(await call(through)).toEqual({ text: "sent" });
    expect(proxy.targets).toEqual([`localhost:${shop.port}`]);
    expect(await call(webhooks)).toEqual({ problem: "The tool's web service cannot be reached safely." });
    expect(shop.seen).toHaveLength(1);
  });

  it("is asked once more, with the same id, when nobody listened the first time", async () => {
    const port = await deadPort();
    const answer = ask(`http://127.0.0.1:${port}`);
    const late = http.createServer((request, response) =>
      response.end(String(request.headers["webhook-id"])),
    );
    stack.defer(() => void late.close());
    late.listen(port, "127.0.0.1");
    expect(await answer).toEqual({ text: "req-1" });
  });
});
