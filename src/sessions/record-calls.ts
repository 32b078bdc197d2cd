import { isObject, type Json, type JsonObject } from "../kernel/json.ts";

/** A call that is made again after every wake: what it did is in a runtime's memory only. */
export interface RecordedCall {
  readonly method: string;
  readonly params: JsonObject;
  /**
   * It follows from a client's answer to a permission request, which no policy restricts. All others must be judged
   * again when they are made again: the policy may have been narrowed since.
   */
  readonly approved?: true;
}

type Calls = readonly RecordedCall[];

/** A record is read and written as a whole; what does not fit is forgotten, the oldest first. Characters of JSON. */
const maxCalls = 500;
const maxLength = 128 * 1024;

const modifyRules = "session.permissions.modifyRules";
const configure = "session.permissions.configure";
const setApproveAll = "session.permissions.setApproveAll";
const updatePrimary = "session.permissions.paths.updatePrimary";
const stopServer = "session.mcp.stopServer";

/** What is made again, and the parameter by which a later call replaces an earlier one (null: any later one does). */
const replayed: Readonly<Record<string, string | null>> = {
  "session.permissions.paths.add": "path",
  [updatePrimary]: null,
  [setApproveAll]: null,
  "session.permissions.setRequired": null,
  "session.permissions.urls.setUnrestrictedMode": null,
  "session.model.setAllowedModels": null,
  "session.agent.setPrompt": "id",
  "session.tools.updateSubagentSettings": null,
  "session.telemetry.setFeatureOverrides": null,
  "session.mcp.apps.setHostContext": null,
  "session.mcp.removeGitHub": null,
  [stopServer]: "serverName",
};

const listOf = (value: unknown): readonly Json[] => (Array.isArray(value) ? value : []);

const rulesOf = ({ params }: RecordedCall): readonly Json[] => [
  ...listOf(params.add),
  ...listOf(params.remove),
];

const keyOf = (call: RecordedCall): string => {
  if (call.method === modifyRules) return `${modifyRules} ${JSON.stringify(rulesOf(call))}`;
  if (call.method === configure) return `${configure} ${Object.keys(call.params).join()}`;
  const identity = replayed[call.method] ?? null;
  return identity === null ? call.method : `${call.method} ${JSON.stringify(call.params[identity])}`;
};

const bounded = (calls: Calls): Calls => {
  let room = maxLength;
  const fits = (call: RecordedCall): boolean => {
    const { length } = JSON.stringify(call);
    if (length > room) return false;
    room -= length;
    return true;
  };
  return calls.slice(-maxCalls).reverse().filter(fits).reverse();
};

const without = (calls: Calls, drop: (call: RecordedCall) => boolean): Calls =>
  calls.some(drop) ? calls.filter((call) => !drop(call)) : calls;

/** The last of one kind counts, at the place where it was made. */
const withCalls = (calls: Calls, made: Calls): Calls => {
  const keys = new Set(made.map(keyOf));
  return bounded([...calls.filter((call) => !keys.has(keyOf(call))), ...made]);
};

const ruleKeys = ({ kind, argument }: Record<string, unknown>): JsonObject => ({
  kind: String(kind),
  argument: typeof argument === "string" ? argument : null,
});

const rule = (how: "add" | "remove", value: unknown): Calls =>
  isObject(value) ? [{ method: modifyRules, params: { scope: "session", [how]: [ruleKeys(value)] } }] : [];

const approved = (calls: Calls): Calls => calls.map((call) => ({ ...call, approved: true }));

const approvesAll = (call: RecordedCall): boolean =>
  call.method === setApproveAll ||
  (call.method === configure && call.params.approveAllToolPermissionRequests !== undefined);

/** Rules of a location are in the unit's files. */
const afterRules = (calls: Calls, params: JsonObject): Calls => {
  if (params.scope !== "session") return calls;
  const kept =
    params.removeAll === true
      ? without(calls, (call) => call.method === modifyRules || call.params.rules !== undefined)
      : calls;
  return withCalls(kept, [
    ...listOf(params.remove).flatMap((value) => rule("remove", value)),
    ...listOf(params.add).flatMap((value) => rule("add", value)),
  ]);
};

/** The calls to make at a wake after this one has succeeded; the same list when it changes nothing of it. */
export const callsAfter = (calls: Calls, method: string, params: JsonObject): Calls => {
  switch (method) {
    case modifyRules:
      return afterRules(calls, params);
    case configure:
      return withCalls(
        calls,
        Object.entries(params).map(([name, value]) => ({ method, params: { [name]: value } })),
      );
    case "session.permissions.resetSessionApprovals":
      return without(calls, (call) => call.method === modifyRules);
    // The mode itself is in the history; the switch beside it is taken back by any change of the mode.
    case "session.permissions.setMode":
      return without(calls, approvesAll);
    case "session.metadata.setWorkingDirectory":
      return without(calls, (call) => call.method === updatePrimary);
    case "session.mcp.startServer":
    case "session.mcp.restartServer":
    case "session.mcp.enable":
    case "session.mcp.disable":
      return without(
        calls,
        (call) => call.method === stopServer && call.params.serverName === params.serverName,
      );
    default:
      return method in replayed ? withCalls(calls, [{ method, params }]) : calls;
  }
};

/** The rules by which a runtime itself remembers an approval; of kinds that nobody has tried it asks again. */
const rulesOfApproval = (approval: Record<string, unknown>): readonly JsonObject[] => {
  switch (approval.kind) {
    case "custom-tool":
      return [{ kind: "custom-tool", argument: String(approval.toolName) }];
    case "write":
    case "read":
      return [{ kind: approval.kind, argument: null }];
    case "commands":
      return listOf(approval.commandIdentifiers).map((argument) => ({ kind: "shell", argument }));
    case "mcp":
      return [{ kind: String(approval.serverName), argument: (approval.toolName ?? null) as Json }];
    default:
      return [];
  }
};

/** After `permission.completed` with this result. */
export const callsAfterApproval = (calls: Calls, result: unknown): Calls =>
  isObject(result) && result.kind === "approved-for-session" && isObject(result.approval)
    ? withCalls(calls, approved(rulesOfApproval(result.approval).flatMap((value) => rule("add", value))))
    : calls;

/** An approval of the path itself widens the session's directories. */
export const callsAfterPaths = (calls: Calls, paths: readonly string[]): Calls =>
  withCalls(
    calls,
    approved(paths.map((path) => ({ method: "session.permissions.paths.add", params: { path } }))),
  );

const adds = ({ method, params }: RecordedCall): boolean =>
  method === modifyRules && params.add !== undefined;

/** Rules that follow one another are one call. A server that was never loaded could not be started any more. */
export const replayOf = (calls: Calls): Calls => {
  const made: RecordedCall[] = [];
  for (const call of calls) {
    const last = made.at(-1);
    if (last !== undefined && adds(last) && adds(call) && last.approved === call.approved) {
      made[made.length - 1] = {
        ...call,
        params: { scope: "session", add: [...listOf(last.params.add), ...listOf(call.params.add)] },
      };
      continue;
    }
    if (call.method === stopServer && !made.some(({ method }) => method === "session.mcp.list"))
      made.push({ method: "session.mcp.list", params: {} });
    made.push(call);
  }
  return made;
};

/** What the history tells once there is one, and what of it is replaced by the same. */
const toldByHistory: Readonly<Record<string, string>> = {
  "session.mode.set": "mode",
  "session.permissions.setMode": "permissions",
  "session.agent.select": "agent",
  "session.agent.deselect": "agent",
};

/** The calls to make again in a session that has no history yet, after this one has succeeded. */
export const unwrittenAfter = (calls: Calls, method: string, params: JsonObject): Calls => {
  const about = toldByHistory[method];
  return about === undefined
    ? calls
    : [...calls.filter((call) => toldByHistory[call.method] !== about), { method, params }];
};

const isMadeAgain = (method: string): boolean =>
  method in replayed || method in toldByHistory || method === modifyRules || method === configure;

/** Reads stored calls; what is not of those that are made again is left out. */
export const parseCalls = (value: unknown): Calls =>
  listOf(value).flatMap((call) =>
    isObject(call) && typeof call.method === "string" && isMadeAgain(call.method) && isObject(call.params)
      ? [
          {
            method: call.method,
            params: call.params as JsonObject,
            ...(call.approved === true && { approved: true }),
          },
        ]
      : [],
  );
