import { newId } from "../kernel/ids.ts";
import type { Json, JsonObject } from "../kernel/json.ts";
import { isObject } from "../kernel/json.ts";
import type { Part } from "../policy/session-rights.ts";

/** Parameters of create and resume that say what this one connection can do; all others belong to the session's record. */
const flagNames = [
  "hooks",
  "streaming",
  "includeSubAgentStreamingEvents",
  "requestPermission",
  "requestUserInput",
  "requestElicitation",
  "requestExitPlanMode",
  "requestAutoModeSwitch",
  "requestCanvasRenderer",
  "requestMcpApps",
] as const;
const listNames = ["tools", "commands", "canvases"] as const;
const momentary = [
  "sessionId",
  "traceparent",
  "tracestate",
  "disableResume",
  "continuePendingWork",
  "gitHubToken",
] as const;
const ownedByConnection: ReadonlySet<string> = new Set([
  ...flagNames,
  ...listNames,
  ...momentary,
  "canvasProvider",
  "gitHubTokenProviderRegistrationId",
]);

export type Flag = (typeof flagNames)[number];
type ListName = (typeof listNames)[number];

/** What a connection declared for one session: its handlers and its wishes. */
export interface Declarations {
  readonly flags: ReadonlySet<Flag>;
  readonly lists: Readonly<Record<ListName, readonly JsonObject[]>>;
  readonly canvasProvider: Json | undefined;
  /** Its provider of GitHub tokens. Runtimes ask by the id alone and clients choose theirs freely, so it has one of ours. */
  readonly tokenProvider: { readonly id: string; readonly clientId: string } | undefined;
}

export const nothingDeclared: Declarations = {
  flags: new Set(),
  lists: { tools: [], commands: [], canvases: [] },
  canvasProvider: undefined,
  tokenProvider: undefined,
};

/** Whoever only watches wants to see answers grow. */
export const watcherDeclares: Declarations = { ...nothingDeclared, flags: new Set(["streaming"]) };

const seeing: readonly Flag[] = ["streaming", "includeSubAgentStreamingEvents"];
const answering: readonly Flag[] = ["requestPermission", "requestUserInput", "requestElicitation"];

/**
 * What counts of a client's declarations: the founder's all; of another's what lets it see, and, if it may send, what
 * lets it answer. Tools, commands, hooks and the like would be a part of the session.
 */
export const countedOf = (offered: Declarations, { role, founder }: Part): Declarations => {
  if (founder) return offered;
  const counted = role === "reader" ? seeing : [...seeing, ...answering];
  return { ...nothingDeclared, flags: new Set(counted.filter((flag) => offered.flags.has(flag))) };
};

const listOf = (value: unknown): readonly JsonObject[] =>
  Array.isArray(value) ? value.filter((item): item is JsonObject => isObject(item)) : [];

/** Splits judged parameters of create or resume into what the connection declares and what the session records. */
export const splitParameters = (
  params: Readonly<Record<string, unknown>>,
): { readonly declarations: Declarations; readonly recorded: JsonObject } => {
  const registration = params.gitHubTokenProviderRegistrationId;
  return {
    declarations: {
      flags: new Set(flagNames.filter((name) => params[name] === true)),
      lists: {
        tools: listOf(params.tools),
        commands: listOf(params.commands),
        canvases: listOf(params.canvases),
      },
      canvasProvider: params.canvasProvider as Json | undefined,
      tokenProvider:
        typeof registration === "string" ? { id: newId("token"), clientId: registration } : undefined,
    },
    recorded: Object.fromEntries(
      Object.entries(params).filter(([name, value]) => !ownedByConnection.has(name) && value !== undefined),
    ) as JsonObject,
  };
};

const itemKey = (list: ListName, item: JsonObject): string =>
  String(list === "canvases" ? item.id : item.name);

/** What a session asks people for, whoever is attached. */
export const askedOfPeople = [
  "requestPermission",
  "requestUserInput",
  "requestElicitation",
] as const satisfies readonly Flag[];

/** All that any attachment declared, or that holds `always`, as parameters for the runtime; of two with one name the later wins. */
export const unite = (all: readonly Declarations[], always: readonly Flag[] = []): JsonObject => {
  const united: Record<string, Json> = {};
  for (const flag of flagNames)
    united[flag] = always.includes(flag) || all.some((one) => one.flags.has(flag));
  for (const list of listNames) {
    const items = new Map<string, JsonObject>();
    for (const one of all) for (const item of one.lists[list]) items.set(itemKey(list, item), item);
    if (items.size > 0) united[list] = [...items.values()];
  }
  const canvasProvider = all.findLast((one) => one.canvasProvider !== undefined)?.canvasProvider;
  if (canvasProvider !== undefined) united.canvasProvider = canvasProvider;
  const provider = all.findLast((one) => one.tokenProvider !== undefined)?.tokenProvider;
  if (provider !== undefined) united.gitHubTokenProviderRegistrationId = provider.id;
  return united;
};

export const declares = (one: Declarations, list: ListName, name: unknown): boolean =>
  one.lists[list].some((item) => itemKey(list, item) === name);
