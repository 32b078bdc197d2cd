import type { Config, ProviderConfig } from "../config/config.ts";
import { systemClock } from "../kernel/clock.ts";
import { failureOf } from "../models/failure.ts";
import { shieldProvider } from "../models/shield.ts";
import { createUpstream } from "../models/upstream.ts";
import type { Finding } from "./finding.ts";

const answerWithinMs = 10_000;
const maxAnswerBytes = 4 * 2 ** 20;
const name = "models";

const setOne =
  "Set defaults.provider or defaults.githubToken, unless every user brings a token of their own.";
const nothingToAsk = "neither a provider nor a GitHub token is configured";

/** The credentials are part of it: two tenants may use one address with two keys. */
const identityOf = ({ baseUrl, apiKey, bearerToken }: ProviderConfig): string =>
  JSON.stringify([baseUrl, apiKey?.reveal(), bearerToken?.reveal()]);

/** What `up` says at its start when the configuration has nothing to ask. */
export const modelsNote = `${nothingToAsk}, so there is no model to ask. ${setOne}`;

/** Without either, only users whose clients bring a token or a provider get an answer. */
export const hasModels = (config: Config): boolean =>
  [config.defaults, ...Object.values(config.tenants)].some(
    ({ provider, githubToken }) => provider !== undefined || githubToken !== undefined,
  ) || config.auth.keys.some(({ githubToken }) => githubToken !== undefined);

/** Asks every provider of the configuration for its models, with its credential and by the way that model calls take. */
export async function* checkModels(config: Config): AsyncGenerator<Finding> {
  const policies = [config.defaults, ...Object.values(config.tenants)];
  const providers = new Map(
    policies.flatMap(({ provider }) => (provider ? [[identityOf(provider), provider] as const] : [])),
  );
  if (providers.size === 0) yield withoutProvider(hasModels(config));
  for (const provider of providers.values()) yield await checkProvider(config, provider);
}

const withoutProvider = (hasToken: boolean): Finding =>
  hasToken
    ? { name, state: "ok", message: "no provider: model calls go to GitHub with the configured token" }
    : {
        name,
        state: "warn",
        message: nothingToAsk,
        advice: setOne,
      };

const checkProvider = async (config: Config, provider: ProviderConfig): Promise<Finding> => {
  const at = provider.baseUrl;
  const advice = "Check provider.baseUrl, HTTPS_PROXY and NO_PROXY, and models.caFiles.";
  let status: number;
  try {
    status = await statusOf(config, provider);
  } catch (error) {
    const { message, cause } = failureOf(error);
    return { name, state: "fail", message: `${at}: ${message} (${cause})`, advice };
  }
  const message = `${at} answers with status ${status}`;
  if (status === 401 || status === 403) {
    return { name, state: "fail", message, advice: "It refuses the credential: check provider.apiKey." };
  }
  if (status >= 500) return { name, state: "warn", message, advice: "It is there, but in trouble." };
  if (status >= 400) {
    return { name, state: "warn", message, advice: "It has no list of models there; that may be all right." };
  }
  return { name, state: "ok", message };
};

const statusOf = async (config: Config, provider: ProviderConfig): Promise<number> => {
  const upstream = createUpstream({ config: config.models, clock: systemClock, environment: process.env });
  try {
    const [route] = shieldProvider(provider).routes;
    const { statusCode, body } = await upstream.request({
      target: new URL(`${provider.baseUrl.replace(/\/+$/, "")}/models`),
      method: "GET",
      headers: Object.fromEntries(
        Object.entries(route?.headers ?? {}).map(([header, value]) => [header, value.reveal()]),
      ),
      body: Buffer.alloc(0),
      signal: AbortSignal.timeout(answerWithinMs),
    });
    await body.dump({ limit: maxAnswerBytes });
    return statusCode;
  } finally {
    await upstream.close();
  }
};
