import { malformed, type Place, refused } from "./refusal.ts";
import { matchesAny } from "./wildcard.ts";

const sources = ["builtin", "mcp", "custom"] as const;
const sourceOf = (pattern: string): string | undefined =>
  sources.find((source) => pattern.startsWith(`${source}:`));

/** The policy's patterns with `*` alone written out as all sources, which is how a runtime understands them. */
export const allowedTools = (patterns: readonly string[]): readonly string[] => [
  ...new Set(
    patterns.flatMap((pattern) => (pattern === "*" ? sources.map((source) => `${source}:*`) : [pattern])),
  ),
];

/**
 * What of the tools that a client asks for the policy allows, as `source:name` patterns: the policy's own list if
 * it asks for none in particular. A wildcard is narrowed to the policy's patterns of that source; a name without a
 * source, which a runtime would look for in every source, to the sources that may have it. Throws `parameter_denied`
 * for a tool or wildcard of which nothing remains, `invalid_request` if it is no list of strings.
 */
export const narrowTools = (allowed: readonly string[], asked: unknown, place: Place): readonly string[] => {
  const patterns = allowedTools(allowed);
  if (asked === undefined || asked === null) return patterns;
  if (!Array.isArray(asked)) throw malformed(place, "a list of tool names");
  const narrowed = new Set<string>();
  for (const tool of asked) {
    if (typeof tool !== "string" || tool === "") throw malformed(place, "a list of tool names");
    const remains = narrowOne(patterns, tool);
    if (remains.length === 0) throw refused(place, `the policy does not allow the tool "${tool}".`);
    for (const one of remains) narrowed.add(one);
  }
  return [...narrowed];
};

/**
 * The same for a list that was judged when it came and is used again later: what the policy allows no longer is
 * left out, so that a session still wakes.
 */
export const keepAllowedTools = (allowed: readonly string[], recorded: unknown): readonly string[] => {
  const patterns = allowedTools(allowed);
  if (!Array.isArray(recorded)) return patterns;
  return [
    ...new Set(recorded.flatMap((tool) => (typeof tool === "string" ? narrowOne(patterns, tool) : []))),
  ];
};

const narrowOne = (patterns: readonly string[], tool: string): readonly string[] => {
  const source = sourceOf(tool);
  if (tool.endsWith(":*") && source !== undefined)
    return patterns.filter((pattern) => pattern.startsWith(`${source}:`));
  if (tool.includes("*")) return [];
  const candidates = source === undefined ? sources.map((one) => `${one}:${tool}`) : [tool];
  return candidates.filter((candidate) => matchesAny(patterns, candidate));
};
