import { newUuid } from "../kernel/ids.ts";
import { isObject, type Json, type JsonObject } from "../kernel/json.ts";
import type { Secret } from "../kernel/secret.ts";
import { matchesAny } from "../policy/wildcard.ts";
import { unitOf } from "../sessions/unit.ts";
import type { GatewayServices } from "./gateway-services.ts";
import { githubTokenOf } from "./github-token.ts";
import type { Connection } from "./vocabulary.ts";

/** A model of the policy's provider, which tells no more than an id; the rest are the SDK's mandatory fields. */
const plainModel = ({ id, name }: { readonly id: string; readonly name: string }): JsonObject => ({
  id,
  name,
  capabilities: {
    supports: { vision: false, reasoningEffort: false },
    limits: { max_context_window_tokens: 200_000 },
  },
});

/** GitHub has to be asked. */
const answerWithinMs = 30_000;

const isRecord = (value: Json): value is JsonObject => isObject(value);

/** GitHub's list for this token, in the words of a runtime, which knows how to read it. */
const githubModels = async (
  { hosts }: GatewayServices,
  { principal, policy }: Connection,
  token: Secret,
): Promise<readonly JsonObject[]> => {
  const unit = unitOf(policy.isolation, principal, newUuid());
  const visitor = { unit, tenant: principal.tenant, idleMs: policy.sessions.hibernateAfterMs };
  const answer = await hosts.visit(visitor, async ({ peer }) => {
    const params = { gitHubToken: token.reveal() };
    return (await peer.request("models.list", params, { timeoutMs: answerWithinMs })).result();
  });
  return isObject(answer) && Array.isArray(answer.models) ? (answer.models as Json[]).filter(isRecord) : [];
};

/**
 * The models that a client may use, as the SDK's `listModels` shows them: the provider's where the policy has one,
 * else those of the GitHub user that its sessions would have.
 */
export const listModels = async (
  services: GatewayServices,
  connection: Connection,
  params: Readonly<Record<string, unknown>>,
): Promise<JsonObject> => {
  const { policy } = connection;
  const token = policy.provider === undefined ? githubTokenOf(connection, params) : undefined;
  if (token === undefined) return { models: (await services.modelsOf(connection)).map(plainModel) };
  const models = await githubModels(services, connection, token);
  return { models: models.filter(({ id }) => typeof id === "string" && matchesAny(policy.allow.models, id)) };
};
