import { isObject } from "../kernel/json.ts";

/** Replaces an id that one side knows by the one that the other side knows; unknown ids become `undefined`. */
export type IdMap = (id: string) => string | undefined;

const sessionIdPaths: Readonly<Record<string, readonly (readonly string[])[]>> = {
  "session.start": [["sessionId"], ["detachedFromSpawningParentSessionId"]],
  "external_tool.requested": [["sessionId"]],
  "hook.start": [["input", "sessionId"]],
  "hook.end": [["input", "sessionId"]],
};
const messageIdPaths: Readonly<Record<string, readonly (readonly string[])[]>> = {
  "user.message": [["messageId"]],
  "assistant.message": [["originatingMessageId"]],
};

/** Event types whose data holds ids of ours; all others pass byte for byte. */
export const eventTypesWithIds: ReadonlySet<string> = new Set([...Object.keys(sessionIdPaths), ...Object.keys(messageIdPaths)]);

const replaceAt = (value: unknown, path: readonly string[], map: IdMap): unknown => {
  const [key, ...rest] = path;
  if (key === undefined || !isObject(value) || !(key in value)) return value;
  const old = value[key];
  if (rest.length > 0) return { ...value, [key]: replaceAt(old, rest, map) };
  const id = typeof old === "string" ? map(old) : undefined;
  if (id !== undefined) return { ...value, [key]: id };
  return value;
};

/** The value with the id at `path` replaced; the same value when nothing is there. */
export const withId = replaceAt;

/** An event of the runtime as the client must see it. */
export const rewriteEvent = (event: unknown, sessions: IdMap, messages: IdMap): unknown => {
  if (!isObject(event) || typeof event["type"] !== "string") return event;
  let data = event["data"];
  for (const path of sessionIdPaths[event["type"]] ?? []) data = replaceAt(data, path, sessions);
  for (const path of messageIdPaths[event["type"]] ?? []) data = replaceAt(data, path, messages);
  return data === event["data"] ? event : { ...event, data };
};

/** Events of a history (`session.getMessages`, `session.eventLog.read`) as the client must see them. */
export const rewriteHistory = (result: unknown, sessions: IdMap, messages: IdMap): unknown =>
  isObject(result) && Array.isArray(result["events"])
    ? { ...result, events: result["events"].map((event) => rewriteEvent(event, sessions, messages)) }
    : result;
