import { afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { SquadronError } from "../../../src/kernel/errors.ts";
import { tempDir } from "../../support/temp.ts";
import { bodyOf, type GatewayOptions, gatewayIn, modelUrl, routeTo, startGateway } from "./pipe.ts";
import { deadPort, makeCertificates, sse, startConnectProxy, startProvider } from "./servers.ts";

let certificates: ReturnType<typeof makeCertificates>;
let directory: Awaited<ReturnType<typeof tempDir>>;
let stack: AsyncDisposableStack;
beforeAll(async () => {
  directory = await tempDir("models-tls");
  certificates = makeCertificates(directory.path);
  return () => directory.remove();
});
beforeEach(() => {
  stack = new AsyncDisposableStack();
});
afterEach(() => stack.disposeAsync());

const gatewayWith = (options: GatewayOptions) => gatewayIn(stack, options);

describe("connections to providers", () => {
  test("an authority of models.caFiles is trusted, another is not", async () => {
    const provider = stack.use(
      await startProvider((_, response) => sse(response, [{ ok: 1 }]), certificates),
    );
    const trusting = gatewayWith({ routes: [routeTo(provider.url)], caFiles: [certificates.caFile] });
    expect(bodyOf(await trusting.call(modelUrl))).toContain('{"ok":1}');
    const strict = gatewayWith({ routes: [routeTo(provider.url)], retries: 3 });
    expect((await strict.call(modelUrl)).error).toEqual({
      code: "provider_untrusted",
      message: "The model provider's certificate is not trusted.",
    });
    expect(provider.seen).toHaveLength(1);
  });

  test("a certificate file that cannot be read is an error of the configuration", () => {
    expect(() => startGateway({ caFiles: [`${directory.path}/none.pem`] })).toThrow(SquadronError);
  });

  test("HTTPS_PROXY is used, tunnels TLS, and NO_PROXY is honoured", async () => {
    const provider = stack.use(
      await startProvider((_, response) => sse(response, [{ ok: 1 }]), certificates),
    );
    const proxy = stack.use(await startConnectProxy());
    const caFiles = [certificates.caFile];
    const routes = [routeTo(provider.url)];
    const through = gatewayWith({ routes, caFiles, environment: { HTTPS_PROXY: proxy.url } });
    expect(bodyOf(await through.call(modelUrl))).toContain('{"ok":1}');
    expect(proxy.targets).toEqual([`localhost:${provider.port}`]);
    const around = gatewayWith({
      routes,
      caFiles,
      environment: { https_proxy: proxy.url, no_proxy: "localhost" },
    });
    expect(bodyOf(await around.call(modelUrl))).toContain('{"ok":1}');
    expect(proxy.targets).toHaveLength(1);
  });

  test("HTTP_PROXY is used for plain http, and a proxy that is down is a failure to reach", async () => {
    const provider = stack.use(await startProvider((_, response) => sse(response, [{ ok: 1 }])));
    const proxy = stack.use(await startConnectProxy());
    const routes = [routeTo(provider.url)];
    const through = gatewayWith({ routes, environment: { HTTP_PROXY: proxy.url } });
    expect(bodyOf(await through.call(modelUrl))).toContain('{"ok":1}');
    expect(proxy.targets).toEqual([`127.0.0.1:${provider.port}`]);
    const down = gatewayWith({ routes, environment: { HTTP_PROXY: `http://127.0.0.1:${await deadPort()}` } });
    expect((await down.call(modelUrl)).error?.code).toBe("provider_unreachable");
  });
});
