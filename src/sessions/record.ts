import { isObject, type Json, type JsonObject } from "../kernel/json.ts";
import {
  callsAfter,
  callsAfterApproval,
  callsAfterPaths,
  parseCalls,
  type RecordedCall,
  replayOf,
  unwrittenAfter,
} from "./record-calls.ts";
import { moved, movedSettings, type Places } from "./record-places.ts";
import {
  afterAgent,
  afterDirectory,
  afterModelChange,
  afterModelRead,
  afterOptions,
  type Settings,
  settingsAfter,
} from "./record-settings.ts";

/**
 * What a session must be resumed with, so that it goes on as if it had never left a runtime's memory. `parameters` are
 * those of create and resume that belong to the session (not to a connection, see gateway/declarations.ts), without
 * secrets; `options` are what `session.options.update` changed since; `calls` are made again after both;
 * `unwritten`, while nothing has been said and so there is no history, are those that it will tell; `facts` is what
 * lists show of the session without asking a runtime; `places` is where it was last awake.
 */
export interface SessionRecord extends Settings {
  readonly calls: readonly RecordedCall[];
  readonly unwritten?: readonly RecordedCall[];
  readonly facts: {
    readonly cwd?: string;
    readonly clientName?: string;
    /** Has it been given its name, instead of one that the runtime made of its first message? */
    readonly named?: true;
    /** Was it made over HTTP? Then it has what the policy gives to such sessions. */
    readonly overHttp?: true;
  };
  readonly places?: Places;
}

export const emptyRecord: SessionRecord = {
  parameters: {},
  options: {},
  calls: [],
  unwritten: [],
  facts: {},
};

/** Kept when a resume does not name them: a bare runtime keeps the model, and a credential must not vanish by omission. */
const sticky = [
  "model",
  "reasoningEffort",
  "contextTier",
  "provider",
  "providers",
  "models",
  "workingDirectory",
  "sessionLimits",
] as const;

const withSettings = (record: SessionRecord, settings: Settings): SessionRecord =>
  settings === record || (settings.parameters === record.parameters && settings.options === record.options)
    ? record
    : { ...record, ...settings };

const withCalls = (record: SessionRecord, calls: readonly RecordedCall[]): SessionRecord =>
  calls === record.calls ? record : { ...record, calls };

/** The record after its owner resumed with these parameters: they replace the old ones, but for the sticky ones. */
export const recordAfterResume = (record: SessionRecord, parameters: JsonObject): SessionRecord => {
  const kept: Record<string, Json> = {};
  for (const key of sticky) {
    const value = record.parameters[key];
    if (value !== undefined) kept[key] = value;
  }
  return { ...record, parameters: { ...kept, ...parameters }, options: {} };
};

/** The record after the session left memory because its last client did: approvals and the like end with it, as in a bare runtime. */
export const recordAfterLeaving = (record: SessionRecord): SessionRecord =>
  withCalls(record, record.calls.length === 0 ? record.calls : []);

/**
 * Folds what an event of the runtime changes for good. Returns the same record when nothing does; events of subagents
 * (those with an `agentId`) change nothing of the session.
 */
export const recordAfterEvent = (
  record: SessionRecord,
  type: string,
  data: unknown,
  agentId?: unknown,
): SessionRecord => {
  if (!isObject(data) || agentId !== undefined) return record;
  switch (type) {
    case "session.model_change":
      return withSettings(record, afterModelChange(record, data));
    case "subagent.selected":
    case "subagent.deselected":
      return record.unwritten === undefined ? withSettings(record, afterAgent(record)) : record;
    case "user.message":
      return begun(record);
    case "permission.completed":
      return withCalls(record, callsAfterApproval(record.calls, data.result));
    case "session.permissions_changed":
      return withCalls(record, callsAfter(record.calls, "session.permissions.setMode", {}));
    case "session.context_changed":
      return typeof data.cwd === "string" ? inDirectory(record, data.cwd) : record;
    case "session.start":
    case "session.resume": {
      const cwd = isObject(data.context) ? data.context.cwd : undefined;
      return typeof cwd === "string" ? inDirectory(record, cwd) : record;
    }
    default:
      return record;
  }
};

const inDirectory = (record: SessionRecord, cwd: string): SessionRecord => {
  const settled = withSettings(record, afterDirectory(record, cwd));
  return cwd === settled.facts.cwd ? settled : { ...settled, facts: { ...settled.facts, cwd } };
};

/** The history has begun, and from now on tells what it can. */
const begun = (record: SessionRecord): SessionRecord => {
  if (record.unwritten === undefined) return record;
  const { unwritten: _told, ...rest } = record;
  return withSettings(rest, afterAgent(rest));
};

/**
 * Folds a successful call of a session method. The parameters must be free of secrets. Returns the same record when
 * nothing changes that a wake would lose.
 */
export const recordAfterCall = (
  record: SessionRecord,
  method: string,
  params: JsonObject,
  result: unknown,
): SessionRecord => {
  if (isObject(result) && result.success === false) return record;
  const named =
    method === "session.name.set" && record.facts.named !== true
      ? { ...record, facts: { ...record.facts, named: true as const } }
      : record;
  const settled = withSettings(named, settingsAfter(named, method, params));
  const made = withCalls(settled, callsAfter(settled.calls, method, params));
  if (made.unwritten === undefined) return made;
  const unwritten = unwrittenAfter(made.unwritten, method, params);
  return unwritten === made.unwritten ? made : { ...made, unwritten };
};

/** Folds a successful `session.options.update`. */
export const recordAfterOptions = (record: SessionRecord, options: JsonObject): SessionRecord =>
  withSettings(record, afterOptions(record, options));

/** Folds the answer of `session.model.getCurrent`, asked after the history was cut: the model of the rest counts again. */
export const recordAfterModel = (record: SessionRecord, current: unknown): SessionRecord =>
  withSettings(record, afterModelRead(record, current));

/** The record with which a session wakes whose directory is gone; a resume that names it fails. */
export const recordWithoutDirectory = ({ parameters, options, ...record }: SessionRecord): SessionRecord => {
  const { workingDirectory: _parameter, ...rest } = parameters;
  const { workingDirectory: _option, ...others } = options;
  return { ...record, parameters: rest, options: others };
};

/** Folds paths that were approved for the session. */
export const recordAfterPaths = (record: SessionRecord, paths: readonly string[]): SessionRecord =>
  withCalls(record, callsAfterPaths(record.calls, paths));

const listAt = (parameters: JsonObject, key: string): readonly Json[] => {
  const value = parameters[key];
  return Array.isArray(value) ? value : [];
};

/** Folds a successful `session.provider.add`: what create takes as `providers` and `models`. */
export const recordAfterProviders = (record: SessionRecord, added: JsonObject): SessionRecord => ({
  ...record,
  parameters: {
    ...record.parameters,
    providers: [...listAt(record.parameters, "providers"), ...listAt(added, "providers")],
    models: [...listAt(record.parameters, "models"), ...listAt(added, "models")],
  },
});

/** The record for a runtime with these directories: paths in those of the last one are paths in these. */
export const recordIn = (record: SessionRecord, places: Places): SessionRecord => {
  const from = record.places;
  const to = { home: places.home, work: places.work };
  if (from?.home === to.home && from.work === to.work) return record;
  if (from === undefined) return { ...record, places: to };
  const { cwd } = record.facts;
  const movedCalls = (calls: readonly RecordedCall[]): readonly RecordedCall[] =>
    calls.map((call) => ({ ...call, params: moved(call.params, from, to) }));
  return {
    parameters: movedSettings(record.parameters, from, to),
    options: movedSettings(record.options, from, to),
    calls: movedCalls(record.calls),
    ...(record.unwritten !== undefined && { unwritten: movedCalls(record.unwritten) }),
    facts: { ...record.facts, ...(cwd !== undefined && { cwd: moved(cwd, from, to) }) },
    places: to,
  };
};

/**
 * What to call, one after the other, when the session has been created or resumed and its options are set. One that
 * fails is no reason not to wake.
 */
export const callsOnWake = ({ unwritten = [], calls }: SessionRecord): readonly RecordedCall[] =>
  replayOf([...unwritten, ...calls]);

const parsePlaces = (value: unknown): Places | undefined =>
  isObject(value) && typeof value.home === "string" && typeof value.work === "string"
    ? { home: value.home, work: value.work }
    : undefined;

/** Reads a stored record; one that is not of our shape is an empty one, so that a session still opens. */
export const parseRecord = (text: string): SessionRecord => {
  const value: unknown = JSON.parse(text);
  if (!isObject(value)) return emptyRecord;
  const { parameters, options, facts } = value as {
    parameters?: JsonObject;
    options?: JsonObject;
    facts?: object;
  };
  const places = parsePlaces(value.places);
  return {
    parameters: parameters ?? {},
    options: options ?? {},
    calls: parseCalls(value.calls),
    ...(Array.isArray(value.unwritten) && { unwritten: parseCalls(value.unwritten) }),
    facts: { ...facts },
    ...(places !== undefined && { places }),
  };
};
