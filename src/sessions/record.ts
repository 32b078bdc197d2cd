import { isObject, type Json, type JsonObject } from "../kernel/json.ts";

/**
 * What a session must be resumed with. `parameters` are those of create and resume that belong to the session
 * (not to a connection, see gateway/declarations.ts), without secrets; `options` are what `session.options.update`
 * changed since; `facts` is what lists show of the session without asking a runtime.
 */
export interface SessionRecord {
  readonly parameters: JsonObject;
  readonly options: JsonObject;
  readonly facts: { readonly cwd?: string; readonly clientName?: string };
}

export const emptyRecord: SessionRecord = { parameters: {}, options: {}, facts: {} };

/** Kept when a resume does not name them: a bare runtime keeps the model, and a credential must not vanish by omission. */
const sticky = ["model", "reasoningEffort", "provider", "providers", "models"] as const;

/** The record after its owner resumed with these parameters: they replace the old ones, but for the sticky ones. */
export const recordAfterResume = (record: SessionRecord, parameters: JsonObject): SessionRecord => {
  const kept: Record<string, JsonObject[string]> = {};
  for (const key of sticky) {
    const value = record.parameters[key];
    if (value !== undefined) kept[key] = value;
  }
  return { ...record, parameters: { ...kept, ...parameters }, options: {} };
};

/** Folds what an event of the runtime changes for good. Returns the same record when nothing does. */
export const recordAfterEvent = (record: SessionRecord, type: string, data: unknown): SessionRecord => {
  if (!isObject(data)) return record;
  if (type === "session.model_change" && typeof data.newModel === "string") {
    const had = data.previousReasoningEffort !== undefined;
    const effort = typeof data.reasoningEffort === "string" ? data.reasoningEffort : undefined;
    const change = new Set(had || effort !== undefined ? ["model", "reasoningEffort"] : ["model"]);
    // Options are given after the parameters: earlier ones would undo the change at the next wake.
    const unchanged = (parameters: JsonObject): JsonObject =>
      Object.fromEntries(Object.entries(parameters).filter(([name]) => !change.has(name)));
    return {
      ...record,
      parameters: {
        ...unchanged(record.parameters),
        model: data.newModel,
        ...(effort !== undefined && { reasoningEffort: effort }),
      },
      options: unchanged(record.options),
    };
  }
  if (type === "session.start" || type === "session.resume") {
    const cwd = isObject(data.context) ? data.context.cwd : undefined;
    return typeof cwd === "string" && cwd !== record.facts.cwd
      ? { ...record, facts: { ...record.facts, cwd } }
      : record;
  }
  return record;
};

/** Folds a successful `session.options.update`. */
export const recordAfterOptions = (record: SessionRecord, options: JsonObject): SessionRecord => ({
  ...record,
  options: { ...record.options, ...options },
});

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

/** Reads a stored record; one that is not of our shape is an empty one, so that a session still opens. */
export const parseRecord = (text: string): SessionRecord => {
  const value: unknown = JSON.parse(text);
  if (!isObject(value)) return emptyRecord;
  const { parameters, options, facts } = value as {
    parameters?: JsonObject;
    options?: JsonObject;
    facts?: object;
  };
  return { parameters: parameters ?? {}, options: options ?? {}, facts: { ...facts } };
};
