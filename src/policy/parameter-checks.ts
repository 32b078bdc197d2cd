import type { Allow } from "../config/config.ts";
import { SquadronError } from "../kernel/errors.ts";
import { isObject } from "../kernel/json.ts";
import type { CheckName } from "../wire/method-table.ts";
import { checkAttachments } from "./attachments.ts";
import { liesWithin, staysBelow } from "./paths.ts";
import { inside, malformed, type Place, refused } from "./refusal.ts";
import { narrowTools } from "./tools.ts";
import { matchesAny } from "./wildcard.ts";

/** Judges a value: returns what may be passed on, or throws `parameter_denied`, `model_denied` or `invalid_request`. */
export type Check = (value: unknown, allow: Allow, place: Place) => unknown;

const text = (value: unknown, place: Place): string => {
  if (typeof value !== "string") throw malformed(place, "a string");
  return value;
};

const list = (value: unknown, place: Place): readonly unknown[] => {
  if (!Array.isArray(value)) throw malformed(place, "a list");
  return value;
};

const fields = (value: unknown, place: Place): Record<string, unknown> => {
  if (!isObject(value)) throw malformed(place, "an object");
  return value;
};

const model: Check = (value, allow, place) => {
  const id = text(value, place);
  if (matchesAny(allow.models, id)) return id;
  throw new SquadronError(
    "model_denied",
    `The policy does not allow the model "${id}"; policy.allow.models lists those it does.`,
    {
      details: { method: place.method, parameter: place.parameter, model: id, policy: "allow.models" },
    },
  );
};

const directory: Check = (value, allow, place) => {
  const path = text(value, place);
  if (allow.all || liesWithin(allow.workingDirectories, path)) return path;
  throw refused(place, "the directory is none in which sessions may work.");
};

const provider: Check = (value, allow, place) => {
  if (allow.provider) return value;
  throw refused(place, "clients bring no model provider of their own; the node has one.");
};

const mcpAny: Check = (value, allow, place) => {
  if (allow.mcp.http || allow.mcp.stdio) return value;
  throw refused(place, "sessions have no MCP servers.");
};

/** Anything that could start a process counts as one that does. */
const mcpServer: Check = (value, allow, place) => {
  const server = fields(value, place);
  const type = server.type;
  const http = type === "http" || type === "sse";
  const process = server.command !== undefined || type === undefined || type === "local" || type === "stdio";
  if (!http && !process) throw malformed(inside(place, "type"), "http, sse, local or stdio");
  if (process && !allow.mcp.stdio)
    throw refused(place, "an MCP server with a command is a process on the host.");
  if (http && !allow.mcp.http)
    throw refused(place, "an MCP server with an address is reached from the host.");
  return value;
};

const mcpServers: Check = (value, allow, place) => {
  for (const [name, server] of Object.entries(fields(value, place)))
    mcpServer(server, allow, inside(place, name));
  return value;
};

const agentFields: ReadonlySet<string> = new Set([
  ...["name", "displayName", "description", "prompt", "tools", "infer", "skills", "reasoningEffort"],
]);

const customAgents: Check = (value, allow, place) => {
  list(value, place).forEach((item, index) => {
    const at = inside(place, index);
    for (const [name, field] of Object.entries(fields(item, at))) {
      if (agentFields.has(name) || field === null || field === undefined) continue;
      const there = inside(at, name);
      if (name === "mcpServers") mcpServers(field, allow, there);
      else if (name === "model") model(field, allow, there);
      else throw refused({ ...there, opens: null }, "no such part of an agent is known.");
    }
  });
  return value;
};

const largeOutput: Check = (value, allow, place) => {
  const { outputDir } = fields(value, place);
  if (outputDir !== undefined && outputDir !== null) directory(outputDir, allow, inside(place, "outputDir"));
  return value;
};

/** Approvals that a runtime stores for all of its sessions. */
const lasting: ReadonlySet<string> = new Set([
  "approve-permanently",
  "approve-for-location",
  "approved-for-location",
]);

const permissionDecision: Check = (value, _allow, place) => {
  const { kind } = fields(value, place);
  if (typeof kind === "string" && !lasting.has(kind)) return value;
  throw refused(
    inside(place, "kind"),
    "it would be kept for other sessions too; approve-for-session is the longest.",
  );
};

/**
 * Built-in commands that neither leave the session nor start a turn. What is not here (add-dir, cwd, allow-all, mcp,
 * plugin, share, every, fleet, ...) opens directories, stores settings, publishes, or runs past the node's queue.
 */
const harmlessCommands: ReadonlySet<string> = new Set([
  "compact",
  "context",
  "env",
  "list-dirs",
  "rename",
  "usage",
]);

const slashCommand: Check = (value, _allow, place) => {
  const name = /^[\s/]*([^\s/]*)/.exec(text(value, place))?.[1]?.toLowerCase() ?? "";
  if (harmlessCommands.has(name)) return value;
  throw refused(place, `the command "/${name}" may change more than this session.`);
};

/** Headers of a message go to the model provider, beside the operator's credential. */
const message: Check = (value, _allow, place) => {
  const { requestHeaders } = fields(value, place);
  if (requestHeaders === undefined || requestHeaders === null) return value;
  throw refused(
    inside(place, "requestHeaders"),
    "they would go to the model provider beside the operator's credential.",
  );
};

const checks: Readonly<Record<CheckName, Check>> = {
  model,
  provider,
  directory,
  directories: (value, allow, place) => {
    for (const [index, item] of list(value, place).entries()) directory(item, allow, inside(place, index));
    return value;
  },
  tools: (value, allow, place) => (allow.all ? value : narrowTools(allow.tools, value, place)),
  mcpAny,
  mcpServer,
  mcpServers,
  mcpToolName: (value, allow, place) => {
    narrowTools(allow.tools, [`mcp:${text(value, place)}`], place);
    return value;
  },
  message,
  messages: (value, allow, place) => {
    for (const [index, item] of list(value, place).entries()) message(item, allow, inside(place, index));
    return value;
  },
  customAgents,
  largeOutput,
  permissionDecision,
  slashCommand,
  attachments: checkAttachments,
  relativePath: (value, _allow, place) => {
    if (staysBelow(text(value, place))) return value;
    throw refused(
      place,
      "the path must be relative and stay within the workspace files directory of the session.",
    );
  },
  source: (value, _allow, place) => {
    if (value === "user") return value;
    throw refused(place, "a client speaks as its user only.");
  },
  agentMode: (value, _allow, place) => {
    if (value === "interactive" || value === "plan" || value === "autopilot") return value;
    throw refused(place, "the mode must be interactive, plan or autopilot.");
  },
};

export const parameterCheck = (name: CheckName): Check => checks[name];
