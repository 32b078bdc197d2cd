import type { Runtime } from "../fleet/fleet.ts";
import { unitOf } from "../sessions/unit.ts";
import type { Log } from "../telemetry/log.ts";
import { RpcError } from "../wire/rpc-error.ts";
import type { Connection } from "./vocabulary.ts";

/** A runtime waits for 15 seconds. */
const answerWithinMs = 14_000;

/** The runtime's words for an entrypoint that nobody launches. */
const notLaunched = {};

/**
 * Clients that say how a runtime launches extensions. A runtime asks only whoever registered before its first session,
 * and names no session: the node registers with each, and asks the client of the unit that registered last.
 */
export interface LaunchProviders {
  /** `registerExtensionLaunchProvider` of a client. */
  offer(connection: Connection): void;
  /** Registers with the runtime, once; to be called before its first session. */
  prepare(runtime: Runtime): Promise<void>;
  /** `extensionLaunchProvider.resolve` of a runtime. */
  resolve(runtime: Runtime, params: unknown): Promise<unknown>;
  forget(connection: Connection): void;
}

/** Is the runtime's unit this client's: its user's own, or that of a session of its user's that it is attached to? */
const mayAnswer = ({ policy, principal, attachments }: Connection, { unit }: Runtime): boolean =>
  policy.allow.all &&
  ((unit.isolation === "user" && unitOf("user", principal, "").key === unit.key) ||
    (unit.isolation === "session" &&
      [...attachments.values()].some(({ host, founder }) => founder && host.unit.key === unit.key)));

export const createLaunchProviders = (log: Log): LaunchProviders => {
  const offering = new Set<Connection>();
  const prepared = new WeakMap<Runtime, Promise<void>>();

  const register = async ({ id, peer }: Runtime): Promise<void> => {
    try {
      await peer.request("registerExtensionLaunchProvider", {}, { timeoutMs: answerWithinMs });
    } catch (error) {
      if (!(error instanceof RpcError)) throw error;
      log.warn({ runtime: id, error }, "a runtime does not let the node say how extensions are launched");
    }
  };

  return {
    offer(connection) {
      offering.delete(connection);
      offering.add(connection);
    },
    prepare(runtime) {
      const preparing = prepared.get(runtime) ?? register(runtime);
      prepared.set(runtime, preparing);
      return preparing;
    },
    async resolve(runtime, params) {
      const asked = [...offering].findLast((connection) => mayAnswer(connection, runtime));
      if (asked === undefined) return notLaunched;
      try {
        return await asked.link.request("extensionLaunchProvider.resolve", params, {
          timeoutMs: answerWithinMs,
        });
      } catch (error) {
        if (error instanceof RpcError) throw error;
        log.info({ connection: asked.id, error }, "a client did not say how an extension is launched");
        return notLaunched;
      }
    },
    forget(connection) {
      offering.delete(connection);
    },
  };
};
