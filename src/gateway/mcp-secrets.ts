import { SquadronError } from "../kernel/errors.ts";
import { isObject, type Json, type JsonObject } from "../kernel/json.ts";
import { Secret } from "../kernel/secret.ts";

/** The parameters that bring MCP servers; the values of a server's `env` and `headers`, and addresses with a query, are where their credentials are. */
const bringsServers = ["mcpServers", "customAgents"] as const;
const secretFields = ["env", "headers"] as const;
const placeholder = "held-by-squadron";

/** Where an address may have a credential: in front of the host, or behind the path. */
const mayHoldSecret = (url: string): boolean => /[?#@]/.test(url);

/** Whole parameters, as JSON text, by their names: of those whose secrets were taken out. */
export type HeldServers = Readonly<Record<string, Secret>>;

const withoutSecrets = (value: Json, inServer: boolean): Json => {
  if (Array.isArray(value)) return value.map((item) => withoutSecrets(item, inServer));
  if (!isObject(value)) return value;
  return Object.fromEntries(
    Object.entries(value as JsonObject).map(([name, field]) => {
      if (inServer && secretFields.some((one) => one === name) && isObject(field))
        return [name, Object.fromEntries(Object.keys(field).map((key) => [key, placeholder]))];
      if (inServer && name === "url" && typeof field === "string" && mayHoldSecret(field))
        return [name, placeholder];
      if (name === "mcpServers" && isObject(field)) return [name, serversWithoutSecrets(field as JsonObject)];
      return [name, field];
    }),
  );
};

const serversWithoutSecrets = (servers: JsonObject): JsonObject =>
  Object.fromEntries(Object.entries(servers).map(([name, server]) => [name, withoutSecrets(server, true)]));

const shown = (name: string, value: Json): Json =>
  name === "mcpServers" && isObject(value)
    ? serversWithoutSecrets(value as JsonObject)
    : withoutSecrets(value, false);

/** Takes the secrets of MCP servers out of what is written down. */
export const shieldServers = (parameters: JsonObject): { parameters: JsonObject; held: HeldServers } => {
  const shielded: Record<string, Json> = {};
  const held: Record<string, Secret> = {};
  for (const name of bringsServers) {
    const value = parameters[name];
    if (value === undefined) continue;
    const text = JSON.stringify(value);
    shielded[name] = shown(name, value);
    if (JSON.stringify(shielded[name]) !== text) held[name] = new Secret(text);
  }
  return { parameters: { ...parameters, ...shielded }, held };
};

/**
 * The parameters as the client gave them. Throws `credentials_needed` when this node has not got the secrets: after a
 * restart the client has to resume the session with them.
 */
export const revealServers = (recorded: JsonObject, held: HeldServers): JsonObject => {
  const revealed: Record<string, Json> = {};
  for (const name of bringsServers) {
    const secret = held[name];
    if (secret !== undefined) revealed[name] = JSON.parse(secret.reveal());
    else if (recorded[name] !== undefined && JSON.stringify(recorded[name]).includes(`"${placeholder}"`))
      throw new SquadronError(
        "credentials_needed",
        `The credentials of this session's MCP servers are not kept over a restart: resume it with ${name} first.`,
        { details: { parameter: name } },
      );
  }
  return { ...recorded, ...revealed };
};
