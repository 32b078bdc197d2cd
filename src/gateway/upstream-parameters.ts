import type { Policy } from "../config/config.ts";
import type { HttpSessions } from "../config/http-sessions.ts";
import type { JsonObject } from "../kernel/json.ts";
import type { Secret } from "../kernel/secret.ts";
import type { ModelGrant, ModelRoute } from "../models/grant.ts";
import { shieldClientProviders, shieldProvider } from "../models/shield.ts";
import { enforceSessionParameters } from "../policy/session-parameters.ts";
import { type HeldServers, revealServers, shieldServers } from "./mcp-secrets.ts";
import { withPolicyMessage, withPolicyTools } from "./policy-tools.ts";

/** What a client supplied that may never be written down: kept by the node that has the session, for as long as it lives here. */
export interface Credentials {
  /** The client that wrote the record makes the model calls itself: no provider of the policy's. */
  readonly ownInference: boolean;
  readonly githubToken: Secret | undefined;
  /** Routes of the client's own providers, with their keys. */
  readonly routes: readonly ModelRoute[];
  /** MCP servers with their environments and headers. */
  readonly servers: HeldServers;
}

/** Takes the secrets out of judged parameters of create or resume. */
export const takeCredentials = (
  recorded: JsonObject,
): {
  readonly parameters: JsonObject;
  readonly routes: readonly ModelRoute[];
  readonly servers: HeldServers;
} => {
  const { params, routes } = shieldClientProviders(recorded);
  const { parameters, held } = shieldServers(params as JsonObject);
  return { parameters, routes, servers: held };
};

const bringsProvider = (parameters: JsonObject): boolean =>
  parameters.provider !== undefined || parameters.providers !== undefined;

/**
 * The parameters with which a session is created or resumed in a runtime, whatever the client asked for. `given`: what
 * the policy adds to this one.
 */
export const upstreamParameters = (
  policy: Policy,
  recorded: JsonObject,
  declared: JsonObject,
  credentials: Credentials,
  given: HttpSessions | undefined,
): Record<string, unknown> => {
  const asked = { ...revealServers(recorded, credentials.servers), ...declared };
  const enforced = enforceSessionParameters(policy, given ? withPolicyMessage(given, asked) : asked);
  const parameters = given ? withPolicyTools(given, enforced, asked) : { ...enforced };
  if (policy.model !== undefined) parameters.model ??= policy.model;
  if (policy.provider !== undefined && !bringsProvider(recorded) && !credentials.ownInference) {
    parameters.provider = shieldProvider(policy.provider).upstream;
  }
  // A runtime refuses both. That a client's own token beside a provider is no oversight was checked when it came.
  const needsToken =
    parameters.provider === undefined && declared.gitHubTokenProviderRegistrationId === undefined;
  if (needsToken && credentials.githubToken !== undefined) {
    parameters.gitHubToken = credentials.githubToken.reveal();
  }
  return parameters;
};

/** Where the model calls of a session may go. */
export const grantOf = (
  policy: Policy,
  credentials: Credentials,
  githubRoutes: readonly ModelRoute[],
): ModelGrant => ({
  allowModels: policy.allow.models,
  routes: [
    ...credentials.routes,
    ...(policy.provider === undefined ? [] : shieldProvider(policy.provider).routes),
    ...githubRoutes,
  ],
});
