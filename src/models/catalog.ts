import { LRUCache } from "lru-cache";
import type { ModelsConfig, Policy } from "../config/config.ts";
import type { Clock } from "../kernel/clock.ts";
import { isObject } from "../kernel/json.ts";
import { modelAllowed } from "./allow.ts";
import type { ModelLog } from "./grant.ts";
import { shieldProvider } from "./shield.ts";
import { createUpstream } from "./upstream.ts";

const freshForMs = 60_000;
const maxAnswerBytes = 4 * 1024 * 1024;
const answerWithinMs = 10_000;

export interface ListedModel {
  readonly id: string;
  readonly name: string;
}

/** Which models a policy offers: what its provider lists, as far as the policy allows them. */
export interface ModelCatalog {
  /** A provider that cannot be asked leaves the models that the policy itself names. */
  list(policy: Policy): Promise<readonly ListedModel[]>;
  close(): Promise<void>;
}

export const createModelCatalog = (options: {
  readonly config: ModelsConfig;
  readonly clock: Clock;
  readonly log: ModelLog;
  readonly environment: NodeJS.ProcessEnv;
}): ModelCatalog => {
  const upstream = createUpstream(options);
  const answers = new LRUCache<string, Promise<readonly string[]>>({ max: 100, ttl: freshForMs });

  const ask = async (policy: Policy): Promise<readonly string[]> => {
    const route = policy.provider === undefined ? undefined : shieldProvider(policy.provider).routes[0];
    if (route === undefined) return [];
    const response = await upstream.request({
      target: new URL(`${route.target}/models`),
      method: "GET",
      headers: Object.fromEntries(
        Object.entries(route.headers).map(([name, value]) => [name, value.reveal()]),
      ),
      body: Buffer.alloc(0),
      signal: AbortSignal.timeout(answerWithinMs),
    });
    let text = "";
    for await (const chunk of response.body) {
      text += String(chunk);
      if (text.length > maxAnswerBytes) throw new Error("the provider's list of models is too long");
    }
    if (response.statusCode !== 200) throw new Error(`the provider answered ${response.statusCode}`);
    const listed: unknown = JSON.parse(text);
    const data = isObject(listed) && Array.isArray(listed.data) ? listed.data : [];
    return data.flatMap((model) => (isObject(model) && typeof model.id === "string" ? [model.id] : []));
  };

  return {
    async list(policy) {
      const key = policy.provider?.baseUrl ?? "";
      let answer = answers.get(key);
      if (answer === undefined) {
        answer = ask(policy);
        answers.set(key, answer);
      }
      const named = [
        ...(policy.model === undefined ? [] : [policy.model]),
        ...policy.allow.models.filter((id) => !id.includes("*")),
      ];
      let ids: readonly string[] = [];
      try {
        ids = await answer;
      } catch (error) {
        answers.delete(key);
        options.log.warn({ error: String(error) }, "the provider did not tell its models");
      }
      return [...new Set([...named, ...ids])]
        .filter((id) => modelAllowed(policy.allow.models, id))
        .map((id) => ({ id, name: id }));
    },
    close: () => upstream.close(),
  };
};
