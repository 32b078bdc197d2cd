import type { FastifyRequest } from "fastify";
import { partIn } from "../gateway/directory-methods.ts";
import { SquadronError } from "../kernel/errors.ts";
import { assertMay, type Standing } from "../policy/session-rights.ts";
import { parseRecord } from "../sessions/record.ts";
import type { OwnedSession } from "../store/store.ts";
import { callerOf } from "./caller.ts";
import type { HttpContext } from "./context.ts";

/**
 * The session of this public id, if the request's sender has a part in it. Rejects with `session_deleted` if it was the
 * sender's and is no more, with `session_not_found` for all others, existing or not.
 */
export const findSession = async (
  { store }: Pick<HttpContext, "store">,
  request: FastifyRequest,
  publicId: string,
): Promise<OwnedSession> => {
  const { tenant, user } = callerOf(request).principal;
  const row = await store.sessions.byPublicId(publicId, tenant, user);
  if (row !== undefined && !row.ephemeral) return row;
  if (await store.sessions.wasDeleted(publicId, tenant, user)) {
    throw new SquadronError("session_deleted", "This session has been deleted.");
  }
  throw new SquadronError("session_not_found", "There is no such session.");
};

/** Throws `forbidden`, which is audited, unless the request's sender has at least this part in the session. */
export const requirePart = (
  { gateway }: Pick<HttpContext, "gateway">,
  request: FastifyRequest,
  row: OwnedSession,
  needed: Standing,
  what: string,
): void => {
  const { principal } = callerOf(request);
  try {
    assertMay(partIn(row, principal), needed, what);
  } catch (error) {
    gateway.services.audit.record(principal, {
      action: "call",
      target: row.publicId,
      outcome: "forbidden",
      detail: what,
    });
    throw error;
  }
};

const isoTime = (ms: number): string => new Date(ms).toISOString();

/** What everybody who may see the session sees of it. */
const describe = ({ gateway }: Pick<HttpContext, "gateway">, row: OwnedSession) => {
  const host = gateway.services.hosts.find(row.id);
  const recorded = (host?.record ?? parseRecord(row.record)).parameters.model;
  return {
    id: row.publicId,
    visibility: row.visibility,
    senderNames: row.senderNames,
    state:
      host === undefined || host.life === "hibernated" || host.life === "deleted"
        ? ("hibernated" as const)
        : ("live" as const),
    busy: host?.busy ?? false,
    model: typeof recorded === "string" ? recorded : null,
    createdAt: isoTime(row.createdAt),
    lastUsedAt: isoTime(row.lastUsedAt),
    ttlMs: row.ttlMs,
    sizeBytes: row.sizeBytes,
    usage: { inputTokens: row.inputTokens, outputTokens: row.outputTokens },
  };
};

const describeOwn = (
  context: Pick<HttpContext, "gateway">,
  row: OwnedSession,
  counts: ReadonlyMap<string, number>,
) => ({
  ...describe(context, row),
  name: row.name,
  title: row.title,
  owner: row.owner,
  role: row.role,
  participants: counts.get(row.id) ?? 1,
});

/** Sessions as one who takes part in them sees them. */
export const describeAll = async (
  context: Pick<HttpContext, "gateway" | "store">,
  rows: readonly OwnedSession[],
) => {
  const counts = await context.store.participants.counts(rows.map(({ id }) => id));
  return rows.map((row) => describeOwn(context, row, counts));
};

export const describeOne = async (context: Pick<HttpContext, "gateway" | "store">, row: OwnedSession) =>
  describeOwn(context, row, await context.store.participants.counts([row.id]));

/** For administrators, who see no content: a title is the begin of the first message. */
export const describeAdministered = (context: Pick<HttpContext, "gateway">, row: OwnedSession) => ({
  ...describe(context, row),
  tenant: row.tenant,
  owner: row.owner,
  isolation: row.isolation,
  ephemeral: row.ephemeral,
});
