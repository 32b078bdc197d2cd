import { isObject } from "../kernel/json.ts";
import { eventSessionIds } from "../wire/method-table.ts";

/** Of a session's files: its events, one a line, and what its lists show of it. Both name the session, and a runtime believes the log. */
export const logPath = "events.jsonl";
export const workspacePath = "workspace.yaml";

/** The lines of a log that have this text in them, without their ends. */
export function* linesWith(
  log: Buffer,
  text: string,
): Generator<{ readonly text: string; readonly start: number; readonly end: number }> {
  for (let at = log.indexOf(text); at >= 0; ) {
    const start = log.lastIndexOf(0x0a, at) + 1;
    const newline = log.indexOf(0x0a, at);
    const end = newline < 0 ? log.length : newline;
    yield { text: log.toString("utf8", start, end), start, end };
    at = log.indexOf(text, end);
  }
}

export const parsedEvent = (line: string): Record<string, unknown> | undefined => {
  try {
    const event: unknown = JSON.parse(line);
    return isObject(event) ? event : undefined;
  } catch {
    // A torn or foreign line is none of an event's; runtimes skip it too.
    return undefined;
  }
};

export const dataOf = (event: Record<string, unknown>): Record<string, unknown> =>
  isObject(event.data) ? event.data : {};

/** What a log says of its session at its begin; undefined when it is no session's log. */
export const beginOf = (
  log: Buffer,
): { readonly id: string; readonly startedAt: number | undefined } | undefined => {
  const end = log.indexOf("\n");
  const event = end < 0 ? undefined : parsedEvent(log.toString("utf8", 0, end));
  if (event?.type !== "session.start") return undefined;
  const { sessionId, startTime } = dataOf(event);
  if (typeof sessionId !== "string" || sessionId === "") return undefined;
  const startedAt = typeof startTime === "string" ? Date.parse(startTime) : Number.NaN;
  return { id: sessionId, startedAt: Number.isNaN(startedAt) ? undefined : startedAt };
};

const withId = (value: unknown, path: readonly string[], from: string, to: string): unknown => {
  const [key, ...rest] = path;
  if (key === undefined) return value === from ? to : value;
  if (!isObject(value) || !Object.hasOwn(value, key)) return value;
  const changed = withId(value[key], rest, from, to);
  return changed === value[key] ? value : { ...value, [key]: changed };
};

/** The line with the id replaced where events have ids, never in what was said; the same line when there is none. */
const renamedLine = (line: string, from: string, to: string): string => {
  const event = parsedEvent(line);
  const paths = typeof event?.type === "string" ? (eventSessionIds[event.type] ?? []) : [];
  const renamed = paths.reduce<unknown>(
    (changed, path) => withId(changed, ["data", ...path.split(".")], from, to),
    event,
  );
  return renamed === event ? line : JSON.stringify(renamed);
};

/** The log of the same session under another id; lines that do not name it stay byte for byte. */
export const renamedLog = (log: Buffer, from: string, to: string): Buffer => {
  const parts: Buffer[] = [];
  let done = 0;
  for (const { text, start, end } of linesWith(log, from)) {
    const renamed = renamedLine(text, from, to);
    if (renamed === text) continue;
    parts.push(log.subarray(done, start), Buffer.from(renamed));
    done = end;
  }
  return parts.length === 0 ? log : Buffer.concat([...parts, log.subarray(done)]);
};

/** `workspace.yaml` of the same session under another id. */
export const renamedWorkspace = (workspace: Buffer, to: string): Buffer =>
  Buffer.from(workspace.toString("utf8").replace(/^id:.*$/m, () => `id: '${to}'`));
