import type { Runtime } from "../fleet/fleet.ts";
import { taskKinds } from "../fleet/housing.ts";
import type { Log } from "../telemetry/log.ts";
import type { Envelope } from "../wire/envelope.ts";
import { methodEntry } from "../wire/method-table.ts";
import { RpcError } from "../wire/rpc-error.ts";
import { withIds } from "./ids.ts";
import type { Attachment, Connection, SessionHost } from "./vocabulary.ts";

const method = "gitHubTelemetry.event";
const acceptWithinMs = 10_000;

/** What runtimes tell of their sessions in GitHub's telemetry, for clients that asked for it when they connected. */
export interface TelemetryForwarding {
  /** The client's `connect` asked for it. */
  want(connection: Connection): void;
  /**
   * Turns it on in the runtime if one of these wants it; then it stays on there. To be called only where the policy says
   * `allow: all`: the runtime is its user's alone then.
   */
  prepare(runtime: Runtime, attachments: readonly Attachment[]): Promise<void>;
  /** Passes an event on to those who want it: of its session, or of any of the runtime's if it names none. */
  told(frame: Envelope, hosts: readonly SessionHost[]): void;
}

export const createTelemetryForwarding = (log: Log): TelemetryForwarding => {
  const wanting = new WeakSet<Connection>();
  const prepared = new WeakMap<Runtime, Promise<void>>();

  /** Of a session its founder's clients alone. */
  const wants = ({ connection, founder }: Attachment): boolean => founder && wanting.has(connection);

  const turnOn = async ({ id, peer }: Runtime): Promise<void> => {
    const params = { supportedTaskKinds: taskKinds, enableGitHubTelemetryForwarding: true };
    try {
      await peer.request("connect", params, { timeoutMs: acceptWithinMs });
    } catch (error) {
      if (!(error instanceof RpcError)) throw error;
      log.warn({ runtime: id, error }, "a runtime does not forward its telemetry");
    }
  };

  return {
    want(connection) {
      wanting.add(connection);
    },
    async prepare(runtime, attachments) {
      if (!prepared.has(runtime) && attachments.some(wants)) prepared.set(runtime, turnOn(runtime));
      await prepared.get(runtime);
    },
    told(frame, hosts) {
      const { sessionId } = frame;
      const named = hosts.filter(({ row }) => sessionId === undefined || row.id === sessionId);
      const told = new Set<Connection>();
      for (const attachment of named.flatMap(({ attachments }) => attachments).filter(wants)) {
        const { connection, host, name } = attachment;
        if (told.has(connection)) continue;
        told.add(connection);
        let shown = frame.params();
        for (const path of methodEntry(method)?.ids.params ?? [])
          shown = withIds(shown, path, (id) => (id === host.row.id ? name : undefined));
        connection.link.notify(method, shown);
      }
    },
  };
};
