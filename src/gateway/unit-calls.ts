import type { Runtime } from "../fleet/fleet.ts";
import { SquadronError } from "../kernel/errors.ts";
import type { Unit } from "../kernel/isolation.ts";
import type { Judgement } from "../policy/judge.ts";
import { unitOf } from "../sessions/unit.ts";
import { RawJson } from "../wire/peer.ts";
import type { GatewayServices } from "./gateway-services.ts";
import { withIds } from "./ids.ts";
import { onlyReads, paramsWithin, withForeignIds } from "./session-calls.ts";
import type { Connection } from "./vocabulary.ts";

/** The unit that a call without a session is about: its user's, or that of the session which the client opened last. */
const unitOfCaller = async (
  connection: Connection,
  method: string,
  params: Readonly<Record<string, unknown>>,
): Promise<Unit> => {
  const { policy, principal, attachments } = connection;
  if (policy.isolation === "user") return unitOf("user", principal, "");
  const host = [...attachments.values()].findLast(({ founder }) => founder)?.host;
  if (host === undefined)
    throw new SquadronError(
      "method_denied",
      `${method} is about a runtime, and here each session has one of its own: create or resume the session first.`,
      { details: { method } },
    );
  paramsWithin(connection, host, method, params);
  // The session may have to be woken: what the call changes in its runtime's memory is for it.
  await host.call("session.mode.get", {});
  return host.unit;
};

/** The result with the caller's names for the caller's sessions. */
const withOwnNames = async (
  { store }: GatewayServices,
  { principal: { tenant, user } }: Connection,
  result: unknown,
  paths: readonly string[],
): Promise<unknown> => {
  const names = new Map<string, string | undefined>();
  for (const path of paths) {
    withIds(result, path, (id) => {
      names.set(id, undefined);
      return undefined;
    });
  }
  for (const id of names.keys()) {
    const known = await store.sessions.namesOf(id);
    names.set(id, known.find((one) => one.tenant === tenant && one.user === user)?.name);
  }
  return paths.reduce((shown, path) => withIds(shown, path, (id) => names.get(id)), result);
};

/**
 * Forwards a judged call about a whole runtime to that of the caller's unit, which is its user's or its session's alone.
 * Answered when what it changed of the unit's files is stored.
 */
export const callUnit = async (
  services: GatewayServices,
  connection: Connection,
  { entry, params }: Judgement,
): Promise<unknown> => {
  const { tenant } = connection.principal;
  let upstream: unknown = params;
  for (const path of entry.ids.params) upstream = await withForeignIds(services, connection, upstream, path);
  const unit = await unitOfCaller(connection, entry.method, params);
  const ask = async (runtime: Runtime): Promise<unknown> => {
    const answer = await runtime.peer.request(entry.method, upstream);
    if (!onlyReads(entry.method)) await services.units.store(runtime, tenant);
    return entry.ids.result.length === 0
      ? new RawJson(answer.resultBytes())
      : withOwnNames(services, connection, answer.result(), entry.ids.result);
  };
  return services.hosts.visit({ unit, tenant, idleMs: connection.policy.sessions.hibernateAfterMs }, ask);
};
