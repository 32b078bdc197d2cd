import { isObject, type Json, type JsonObject } from "../kernel/json.ts";

/** Directories of a runtime's own, as it names them itself; without a sandbox every process has others. */
export interface Places {
  readonly home: string;
  readonly work: string;
}

/** Parameters and options that name directories. */
const named = [
  "workingDirectory",
  "additionalDirectories",
  "largeOutput",
  "skillDirectories",
  "pluginDirectories",
  "instructionDirectories",
  "configDir",
] as const;

const movedPath = (path: string, from: Places, to: Places): string => {
  for (const place of ["work", "home"] as const)
    if (path === from[place] || path.startsWith(`${from[place]}/`))
      return to[place] + path.slice(from[place].length);
  return path;
};

/** Every text in it that is a path in one of the old places, as one in the new ones. */
export const moved = <T extends Json>(value: T, from: Places, to: Places): T => {
  const move = (part: Json): Json => {
    if (typeof part === "string") return movedPath(part, from, to);
    if (Array.isArray(part)) return part.map(move);
    if (isObject(part))
      return Object.fromEntries(Object.entries(part as JsonObject).map(([key, inner]) => [key, move(inner)]));
    return part;
  };
  return move(value) as T;
};

export const movedSettings = (settings: JsonObject, from: Places, to: Places): JsonObject => {
  const changed: Record<string, Json> = {};
  for (const name of named) {
    const value = settings[name];
    if (value !== undefined) changed[name] = moved(value, from, to);
  }
  return { ...settings, ...changed };
};
