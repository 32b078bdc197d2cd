import { createHash } from "node:crypto";
import type { ProviderConfig } from "../config/config.ts";
import { SquadronError } from "../kernel/errors.ts";
import { isObject } from "../kernel/json.ts";
import { Secret } from "../kernel/secret.ts";
import type { ModelRoute } from "./grant.ts";

/** The name under which runtimes know the policy's provider. `.internal` is resolved nowhere. */
const opaqueHost = "models.squadron.internal";
const dummyKey = "held-by-squadron";

type ProviderType = ProviderConfig["type"];

const withoutSlash = (url: string): string => url.replace(/\/+$/, "");

/** The runtime makes Azure's path itself and drops one that is already there: so the base is what stands before. */
const baseOf = (type: ProviderType, url: string): string => {
  const base = withoutSlash(url);
  return type === "azure" ? base.replace(/\/openai(\/v1)?$/, "") : base;
};

const keyHeader: Readonly<Record<ProviderType, string>> = {
  openai: "authorization",
  azure: "api-key",
  anthropic: "x-api-key",
};

const credentialHeaders = (provider: {
  readonly type: ProviderType;
  readonly apiKey?: Secret | undefined;
  readonly bearerToken?: Secret | undefined;
  readonly headers: Readonly<Record<string, Secret>>;
}): Record<string, Secret> => {
  const { type, apiKey, bearerToken, headers } = provider;
  const all: Record<string, Secret> = {};
  if (bearerToken !== undefined) all.authorization = new Secret(`Bearer ${bearerToken.reveal()}`);
  else if (apiKey !== undefined)
    all[keyHeader[type]] = type === "openai" ? new Secret(`Bearer ${apiKey.reveal()}`) : apiKey;
  for (const [name, value] of Object.entries(headers)) all[name.toLowerCase()] = value;
  return all;
};

/** The policy's provider: what a runtime is given as `provider` (no address, no secret), and the route for us. */
export const shieldProvider = (
  provider: ProviderConfig,
): { upstream: Record<string, unknown>; routes: ModelRoute[] } => {
  const prefix = `http://${opaqueHost}${provider.type === "openai" ? "/v1" : ""}`;
  return {
    upstream: {
      type: provider.type,
      baseUrl: prefix,
      apiKey: dummyKey,
      ...(provider.wireApi !== undefined && { wireApi: provider.wireApi }),
      ...(provider.transport !== undefined && { transport: provider.transport }),
    },
    routes: [
      { prefix, target: baseOf(provider.type, provider.baseUrl), headers: credentialHeaders(provider) },
    ],
  };
};

const typeOf = (value: unknown, where: string): ProviderType => {
  if (value === undefined || value === null) return "openai";
  if (value === "openai" || value === "azure" || value === "anthropic") return value;
  throw new SquadronError("invalid_request", `${where}.type must be openai, azure or anthropic.`);
};

const secretOf = (value: unknown, where: string): Secret | undefined => {
  if (value === undefined || value === null || value === "") return undefined;
  if (typeof value === "string") return new Secret(value);
  throw new SquadronError("invalid_request", `${where} must be text.`);
};

const urlOf = (value: unknown, where: string): string => {
  const url = typeof value === "string" ? URL.parse(value) : null;
  if (typeof value !== "string" || url === null || !/^(https?|wss?):$/.test(url.protocol)) {
    throw new SquadronError("invalid_request", `${where} must be an http or https address.`);
  }
  if (url.username || url.password || url.search || url.hash) {
    throw new SquadronError(
      "invalid_request",
      `${where} must have no user, query or fragment: use apiKey or headers.`,
    );
  }
  if (url.hostname.endsWith(".squadron.internal")) {
    throw new SquadronError("parameter_denied", `${where} names an address that is the server's own.`);
  }
  return value;
};

const shieldOne = (
  provider: unknown,
  where: string,
): { shown: Record<string, unknown>; route: ModelRoute } => {
  if (!isObject(provider)) throw new SquadronError("invalid_request", `${where} must be an object.`);
  const { apiKey, bearerToken, headers, ...shown } = provider;
  if (headers !== undefined && headers !== null && !isObject(headers)) {
    throw new SquadronError("invalid_request", `${where}.headers must be an object.`);
  }
  const type = typeOf(provider.type, where);
  const base = baseOf(type, urlOf(provider.baseUrl, `${where}.baseUrl`));
  const custom: Record<string, Secret> = {};
  for (const [name, value] of Object.entries(headers ?? {})) {
    const secret = secretOf(value, `${where}.headers.${name}`);
    if (secret !== undefined) custom[name] = secret;
  }
  // With a token callback the runtime fetches the token itself and sends no static credential.
  const fetchesToken = provider.hasBearerTokenProvider === true;
  const key = fetchesToken ? undefined : secretOf(apiKey, `${where}.apiKey`);
  const token = fetchesToken ? undefined : secretOf(bearerToken, `${where}.bearerToken`);
  const hasKey = key !== undefined || token !== undefined;
  // The same for the same provider at every resume, so that an earlier answer of ours stays valid.
  const identity = createHash("sha256")
    .update(JSON.stringify([provider.name ?? "", base]))
    .digest("hex");
  const placeholder = `${dummyKey}-${identity.slice(0, 16)}`;
  return {
    shown: {
      ...shown,
      ...(token !== undefined ? { bearerToken: placeholder } : key !== undefined && { apiKey: placeholder }),
    },
    route: {
      prefix: base,
      target: base,
      headers: credentialHeaders({ type, apiKey: key, bearerToken: token, headers: custom }),
      ...(hasKey && { placeholder }),
      ...(fetchesToken && { passCredentials: ["authorization"] }),
    },
  };
};

/** The part of create, resume or `provider.add` parameters that says where model calls go. */
export interface ClientProviders {
  readonly provider?: unknown;
  readonly providers?: unknown;
  readonly models?: unknown;
}

/**
 * A client's own providers: the same parameters without keys and headers, and routes that hold them.
 * The addresses stay: they are the client's. Throws `invalid_request`, or `parameter_denied` for our own address.
 */
export const shieldClientProviders = <P extends ClientProviders>(
  params: P,
): { params: P; routes: ModelRoute[] } => {
  const routes: ModelRoute[] = [];
  const shielded: { provider?: unknown; providers?: unknown } = {};
  const take = (provider: unknown, where: string) => {
    const { shown, route } = shieldOne(provider, where);
    routes.push(route);
    return shown;
  };
  if (params.provider !== undefined && params.provider !== null) {
    shielded.provider = take(params.provider, "provider");
  }
  if (params.providers !== undefined && params.providers !== null) {
    if (!Array.isArray(params.providers)) {
      throw new SquadronError("invalid_request", "providers must be a list.");
    }
    shielded.providers = params.providers.map((provider, index) => take(provider, `providers[${index}]`));
  }
  // One that asks for a certain key, then one with a longer address, must be looked at first.
  const rank = (route: ModelRoute) => (route.placeholder === undefined ? 0 : 1);
  routes.sort((a, b) => rank(b) - rank(a) || b.prefix.length - a.prefix.length);
  return { params: { ...params, ...shielded }, routes };
};
