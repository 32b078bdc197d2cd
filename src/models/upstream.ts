import { readFileSync } from "node:fs";
import { getCACertificates } from "node:tls";
import { type Dispatcher, EnvHttpProxyAgent } from "undici";
import type { ModelsConfig } from "../config/config.ts";
import type { Clock } from "../kernel/clock.ts";
import { SquadronError } from "../kernel/errors.ts";
import { failureOf } from "./failure.ts";

const firstPauseMs = 100;
const keepAliveMs = 30_000;

export interface UpstreamRequest {
  readonly target: URL;
  readonly method: string;
  readonly headers: Record<string, string | string[]>;
  readonly body: Buffer;
  readonly signal: AbortSignal;
}

/** The connections to all providers: kept alive, through proxies where the environment says so. */
export interface Upstream {
  readonly dispatcher: Dispatcher;
  /** Resolves with the head and a body to be read. Tries again only when nothing can have been answered. */
  request(call: UpstreamRequest): Promise<Dispatcher.ResponseData>;
  close(): Promise<void>;
}

const readAuthorities = (files: readonly string[]): string[] =>
  files.map((file) => {
    try {
      return readFileSync(file, "utf8");
    } catch (error) {
      throw new SquadronError("config_invalid", `models.caFiles: ${file} cannot be read.`, { cause: error });
    }
  });

const pause = (clock: Clock, ms: number, signal: AbortSignal): Promise<void> =>
  new Promise((resolve, reject) => {
    const stop = () => {
      cancel();
      reject(new SquadronError("cancelled", "The model call was cancelled."));
    };
    const cancel = clock.after(ms, () => {
      signal.removeEventListener("abort", stop);
      resolve();
    });
    signal.addEventListener("abort", stop, { once: true });
    if (signal.aborted) stop();
  });

/** Throws `config_invalid` when a certificate file cannot be read. */
export const createUpstream = (options: {
  config: ModelsConfig;
  clock: Clock;
  environment: NodeJS.ProcessEnv;
}): Upstream => {
  const { config, clock, environment } = options;
  const tls = {
    timeout: config.connectTimeoutMs,
    // `default` has what NODE_EXTRA_CA_CERTS adds, which an own list would otherwise hide.
    ...(config.caFiles.length > 0 && {
      ca: [...getCACertificates("default"), ...readAuthorities(config.caFiles)],
    }),
  };
  const dispatcher = new EnvHttpProxyAgent({
    connect: tls,
    requestTls: tls,
    proxyTls: tls,
    headersTimeout: config.idleTimeoutMs,
    bodyTimeout: config.idleTimeoutMs,
    keepAliveTimeout: keepAliveMs,
    httpProxy: environment.http_proxy ?? environment.HTTP_PROXY ?? "",
    httpsProxy: environment.https_proxy ?? environment.HTTPS_PROXY ?? "",
    noProxy: environment.no_proxy ?? environment.NO_PROXY ?? "",
  });

  return {
    dispatcher,
    request: async ({ target, method, headers, body, signal }) => {
      for (let attempt = 0; ; attempt++) {
        try {
          return await dispatcher.request({
            origin: target.origin,
            path: target.pathname + target.search,
            method: method.toUpperCase(),
            headers,
            body: body.length > 0 ? body : null,
            signal,
          });
        } catch (error) {
          if (signal.aborted || attempt >= config.retries || !failureOf(error).harmless) throw error;
          await pause(clock, firstPauseMs * 2 ** attempt, signal);
        }
      }
    },
    close: () => dispatcher.destroy(),
  };
};
