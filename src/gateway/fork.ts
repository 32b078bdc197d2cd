import { SquadronError } from "../kernel/errors.ts";
import { newId, newUuid } from "../kernel/ids.ts";
import { isObject } from "../kernel/json.ts";
import { fileBoundsOf } from "../sessions/file-bounds.ts";
import { recordAfterLeaving } from "../sessions/record.ts";
import { eraseFrom, storeMade } from "../sessions/session-state.ts";
import type { GatewayServices } from "./gateway-services.ts";
import type { Connection, SessionHost } from "./vocabulary.ts";

/** What the runtime says of the fork that it has made. */
const forkIn = async (
  host: SessionHost,
  params: Readonly<Record<string, unknown>>,
): Promise<Record<string, unknown> & { readonly sessionId: string }> => {
  const result = (await host.change("sessions.fork", params)).result();
  if (!isObject(result) || typeof result.sessionId !== "string") {
    throw new SquadronError("upstream_error", "The runtime made a fork without an id.");
  }
  return { ...result, sessionId: result.sessionId };
};

/**
 * `sessions.fork`: the fork is a session of its own, which the runtime names. It is made the caller's, with the record
 * of the one that it was forked off and under a new name, before anything is told of it.
 */
export const forkSession = async (
  { store, clock, quota, log }: GatewayServices,
  { principal, policy }: Connection,
  host: SessionHost,
  params: Readonly<Record<string, unknown>>,
): Promise<Record<string, unknown>> => {
  const place = await quota.take(principal, policy.limits);
  const result = await forkIn(host, params).catch((error: unknown) => {
    place.giveBack();
    throw error;
  });
  const { runtime } = host;
  const name = newUuid();
  const now = clock.now();
  await place.fill(() =>
    store.sessions.create(
      {
        ...host.row,
        id: result.sessionId,
        publicId: newId("ses"),
        tenant: principal.tenant,
        owner: principal.user,
        createdAt: now,
        updatedAt: now,
        lastUsedAt: now,
        title: typeof result.name === "string" ? result.name : null,
        record: JSON.stringify(recordAfterLeaving(host.record)),
        createdUpstream: true,
        inputTokens: 0,
        outputTokens: 0,
      },
      name,
    ),
  );
  try {
    await store.messages.copy(host.row.id, result.sessionId);
    if (runtime === undefined)
      throw new SquadronError("runtime_gone", "The runtime ended before the fork could be stored.");
    await storeMade({
      store,
      clock,
      runtime,
      session: result.sessionId,
      bounds: fileBoundsOf(policy),
    });
  } catch (error) {
    // Without its history it would be another session.
    await store.sessions.delete(result.sessionId);
    await (runtime && eraseFrom(runtime, result.sessionId))?.catch((left) =>
      log.error(
        { session: result.sessionId, error: left },
        "files of a deleted session lie in a box until it ends",
      ),
    );
    throw error;
  }
  return { ...result, sessionId: name };
};
