import { isObject, type JsonObject } from "../kernel/json.ts";
import type { Principal } from "../kernel/principal.ts";
import { parseRecord } from "../sessions/record.ts";
import type { OwnedSession } from "../store/store.ts";
import { describe, type LocalAnswer, mine, named, namesIn, partIn, removeBy } from "./directory-methods.ts";

const dayMs = 86_400_000;

/** How many fields of the wanted context a session has. */
const likeness = (session: JsonObject, wanted: Readonly<Record<string, unknown>>): number => {
  const { context } = session;
  return isObject(context)
    ? Object.entries(wanted).filter(([key, value]) => context[key] === value).length
    : 0;
};

/** What the caller has said of a session, and beside it what is known of the session. */
const enriched = (
  given: Readonly<Record<string, unknown>>,
  row: OwnedSession,
  principal: Principal,
): JsonObject => {
  const { summary, name, context } = describe(row, principal);
  return {
    ...(summary !== undefined && { summary }),
    ...(name !== undefined && { name }),
    ...(context !== undefined && { context }),
    ...(given as JsonObject),
  };
};

/** The runtime's own names are no reason to keep a session. */
const wasNamed = ({ record }: OwnedSession): boolean => parseRecord(record).facts.named === true;

/** Calls about many sessions at once: answered from what this user owns, never by a runtime. */
export const manySessionsMethods: Readonly<Record<string, LocalAnswer>> = {
  "sessions.getSizes": async (services, connection) => ({
    sizes: Object.fromEntries(
      (await mine(services, connection)).map(({ name, sizeBytes }) => [name, sizeBytes]),
    ),
  }),

  "sessions.getLastForContext": async (services, connection, { context }) => {
    const wanted = isObject(context) ? context : {};
    const sessions = (await mine(services, connection)).filter(
      (row) => partIn(row, connection.principal).founder,
    );
    const best = sessions
      .map((row) => ({ row, score: likeness(describe(row, connection.principal), wanted) }))
      .reduce<{ row: OwnedSession; score: number } | undefined>(
        (first, one) => (first === undefined || one.score > first.score ? one : first),
        undefined,
      );
    return best === undefined ? {} : { sessionId: best.row.name };
  },

  /** Only sessions that remote control has exported have a task of GitHub's, and the node keeps nothing of that. */
  "sessions.findByTaskId": async () => ({}),

  "sessions.enrichMetadata": async (services, connection, { sessions }) => {
    const shown: unknown[] = [];
    for (const given of Array.isArray(sessions) ? sessions : []) {
      const row = isObject(given) ? await named(services, connection, given.sessionId) : undefined;
      if (!isObject(given) || row === undefined) shown.push(given);
      else if (row.title !== null || given.name !== undefined)
        shown.push(enriched(given, row, connection.principal));
    }
    return { sessions: shown };
  },

  "sessions.pruneOld": async (services, connection, params) => {
    const { olderThanDays, includeNamed, excludeSessionIds } = params;
    const dryRun = params.dryRun === true;
    const before = services.clock.now() - Number(olderThanDays) * dayMs;
    const excluded = new Set(namesIn(excludeSessionIds));
    const result = { deleted: [] as string[], candidates: [] as string[], skipped: [] as string[] };
    let freedBytes = 0;
    for (const row of await mine(services, connection)) {
      const { name } = row;
      if (!partIn(row, connection.principal).founder) continue;
      if (!(row.lastUsedAt <= before) || excluded.has(name)) continue;
      if (services.hosts.isInUse(row.id) || (includeNamed !== true && wasNamed(row))) {
        result.skipped.push(name);
        continue;
      }
      if (dryRun) result.candidates.push(name);
      else if (await removeBy(services.hosts.deleteUnused, services, connection, row))
        result.deleted.push(name);
      else {
        result.skipped.push(name);
        continue;
      }
      freedBytes += row.sizeBytes;
    }
    return { ...result, freedBytes, dryRun };
  },
};
