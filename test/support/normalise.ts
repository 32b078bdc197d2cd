import { isObject } from "../../src/kernel/json.ts";

/** What of an event can be compared between two runs. */
export interface EventLike {
  readonly type: string;
  readonly data?: unknown;
}

export interface NormalEvent {
  readonly type: string;
  readonly data: unknown;
}

/**
 * Events fall into lanes, because the runtime emits them from parallel tasks: on one and the same runtime their order
 * differs from run to run between lanes, and holds only inside `conversation` (and `attachment`, in the history).
 */
export type Lane =
  /** What is said and done, in order. */
  | "conversation"
  /** Acknowledgements and measurements that race with the conversation; each comes once. */
  | "floating"
  /** How the session was opened; live, the opener may see these early, late or twice. */
  | "attachment"
  | "hooks"
  | "model"
  /** Repeated as often as the runtime likes. */
  | "background";

const floating = [
  "abort",
  "agent.interrupted",
  "assistant.usage",
  "external_tool.completed",
  "permission.completed",
  "user_input.completed",
];
const attachment = ["session.managed_settings_resolved", "session.resume", "session.start"];
const background = [
  "capabilities.changed",
  "pending_messages.modified",
  "session.info",
  "session.mcp_servers_loaded",
  "session.skills_loaded",
  "session.title_changed",
  "session.tools_updated",
  "session.usage_info",
];
const lanes = new Map<string, Lane>([
  ...floating.map((type) => [type, "floating"] as const),
  ...attachment.map((type) => [type, "attachment"] as const),
  ...background.map((type) => [type, "background"] as const),
]);

export const laneOf = (type: string): Lane => {
  if (type.startsWith("hook.")) return "hooks";
  if (type.startsWith("model.")) return "model";
  return lanes.get(type) ?? "conversation";
};

/** The events of some lanes, in order. */
export const inLanes = <E extends EventLike>(events: readonly E[], ...wanted: readonly Lane[]): E[] =>
  events.filter((event) => wanted.includes(laneOf(event.type)));

/** Keys whose values say when, how long, or which event stands before in the raced log. */
const droppedKeys =
  /^(timestamp|parentId|stack|processId|pid)$|(Ms|Duration|At|Time|Timestamp|latency)$|^duration/;
/** Keys whose numbers depend on the length of paths and dates in the system message. */
const measuredKeys = /(tokens|bytes|size|length)$/i;

const uuid = /[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}/gi;
const isoTime = /\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(\.\d+)?(Z|[+-]\d{2}:\d{2})?/g;
const loopbackUrl = /https?:\/\/(127\.0\.0\.1|localhost)(:\d+)?/g;
const absolutePath = /(?<![\w/.:<])(\/[\w.@-]+){2,}\/?/g;

/**
 * Makes values of different runs comparable: ids become numbers in the order of their first appearance, times, paths
 * and loopback addresses become placeholders, measurements are dropped. `names` maps what the caller chose for this
 * run (session ids and the like) to a name that is the same in every run.
 */
export const createNormaliser = (names: Readonly<Record<string, string>> = {}) => {
  const seen = new Map<string, string>();
  const numbered = (id: string): string => {
    const known = seen.get(id.toLowerCase()) ?? `<id ${seen.size + 1}>`;
    seen.set(id.toLowerCase(), known);
    return known;
  };
  const text = (value: string): string => {
    // Paths first: where sessions lie on the server's disk is the server's own affair.
    let out = value.replace(absolutePath, "<path>");
    for (const [from, to] of Object.entries(names)) out = out.replaceAll(from, `<${to}>`);
    return out.replace(uuid, numbered).replace(isoTime, "<time>").replace(loopbackUrl, "<url>");
  };
  const normalise = (value: unknown): unknown => {
    if (typeof value === "string") return text(value);
    if (Array.isArray(value)) return value.map(normalise);
    if (value instanceof Date) return "<time>";
    if (!isObject(value)) return value;
    return Object.fromEntries(
      Object.entries(value)
        .filter(([key]) => !droppedKeys.test(key))
        .map(([key, inner]) => [
          text(key),
          typeof inner === "number" && measuredKeys.test(key) ? "<number>" : normalise(inner),
        ]),
    );
  };
  return {
    value: normalise,
    events: (events: readonly EventLike[]): NormalEvent[] =>
      events.map((event) => ({ type: event.type, data: normalise(event.data) })),
  };
};

/** How many events of each type there are. */
export const countTypes = (events: readonly EventLike[]): Readonly<Record<string, number>> => {
  const counts: Record<string, number> = {};
  for (const { type } of events) counts[type] = (counts[type] ?? 0) + 1;
  return Object.fromEntries(Object.entries(counts).sort(([a], [b]) => (a < b ? -1 : 1)));
};
