import type { MethodEntry } from "./method-entry.ts";
import { generatedEntries } from "./method-table.generated.ts";

export type {
  CheckName,
  IdPositions,
  MethodEntry,
  MethodScope,
  ParamVerdict,
  PolicySwitch,
  Way,
} from "./method-entry.ts";

const byName: ReadonlyMap<string, MethodEntry> = new Map(
  generatedEntries.map((entry) => [entry.method, entry]),
);

/** The row of a method, `undefined` for one that the table does not know: such a method is refused. */
export const methodEntry = (method: string): MethodEntry | undefined => byName.get(method);

/** Every row, sorted by method. */
export const methodEntries = (): readonly MethodEntry[] => generatedEntries;

/** Where session ids stand in the `data` of a session event, by its type; all other events hold none. */
export const eventSessionIds: Readonly<Record<string, readonly string[]>> = {
  "session.start": ["sessionId", "detachedFromSpawningParentSessionId"],
  "external_tool.requested": ["sessionId"],
  "hook.start": ["input.sessionId"],
  "hook.end": ["input.sessionId"],
};
