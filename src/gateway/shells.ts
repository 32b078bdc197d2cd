import type { Runtime } from "../fleet/fleet.ts";
import { isObject } from "../kernel/json.ts";
import type { Log } from "../telemetry/log.ts";
import type { Envelope } from "../wire/envelope.ts";
import { RawJson } from "../wire/peer.ts";
import type { Connection, SessionHost } from "./vocabulary.ts";

/**
 * Processes that clients have started with `session.shell.exec`. What a runtime tells of them names only the process;
 * it goes to the connection that started it, always after the answer that names the process to it.
 */
export interface Shells {
  /** `session.shell.exec`. Rejects as `host.call` does. */
  exec(
    connection: Connection,
    host: SessionHost,
    params: Readonly<Record<string, unknown>>,
  ): Promise<RawJson>;
  /** A `shell.output` or `shell.exit` of a runtime. An exit is passed on when what the process did is stored. */
  told(runtime: Runtime, frame: Envelope): void;
  /** Has the session a process that has not ended? */
  running(sessionId: string): boolean;
  /** The session has left its runtime, which has killed its processes without a word. */
  left(sessionId: string): void;
}

interface Shell {
  readonly connection: Connection;
  readonly host: SessionHost;
  /** Frames that wait for the answer to be on its way. */
  held: Buffer[] | undefined;
}

/** Frames of processes whose names are still on their way to us. */
interface Unclaimed {
  readonly unit: string;
  readonly frames: Envelope[];
}

/** Bytes of unclaimed frames of one unit; more output is left out, and the log says so. */
const maxUnclaimedBytes = 1024 * 1024;

export const createShells = (log: Log): Shells => {
  const shells = new Map<string, Shell>();
  /** By unit, how many have been asked for and not been named. */
  const starting = new Map<string, number>();
  const unclaimed = new Map<string, Unclaimed>();
  const keyOf = (runtime: Runtime, processId: string): string => `${runtime.id} ${processId}`;

  const pass = ({ connection, held }: Shell, frame: Envelope): void => {
    if (held === undefined) connection.link.sendRaw(frame.raw);
    else held.push(frame.raw);
  };

  const ended = (key: string, shell: Shell, exit: Envelope): void => {
    shells.delete(key);
    shell.host
      .change("session.mode.get", {})
      .catch((error) =>
        log.warn({ session: shell.host.row.id, error }, "what a shell did could not be stored"),
      )
      .then(() => pass(shell, exit));
  };

  const take = (key: string, shell: Shell, frame: Envelope): void => {
    if (frame.method === "shell.exit") ended(key, shell, frame);
    else pass(shell, frame);
  };

  const adopt = (key: string, connection: Connection, host: SessionHost): void => {
    const held: Buffer[] = [];
    const shell: Shell = { connection, host, held };
    shells.set(key, shell);
    for (const frame of unclaimed.get(key)?.frames ?? []) take(key, shell, frame);
    unclaimed.delete(key);
    // By then the answer has been written.
    setImmediate(() => {
      shell.held = undefined;
      for (const frame of held) connection.link.sendRaw(frame);
    });
  };

  const keep = (runtime: Runtime, key: string, frame: Envelope): void => {
    const unit = runtime.unit.key;
    if (!starting.has(unit)) return;
    const kept = [...unclaimed.values()].filter((one) => one.unit === unit).flatMap(({ frames }) => frames);
    const bytes = kept.reduce((sum, { raw }) => sum + raw.length, 0);
    if (frame.method === "shell.output" && bytes + frame.raw.length > maxUnclaimedBytes) {
      log.warn({ runtime: runtime.id }, "output of a shell came before its name, and too much of it");
      return;
    }
    const found = unclaimed.get(key);
    if (found === undefined) unclaimed.set(key, { unit, frames: [frame] });
    else found.frames.push(frame);
  };

  const started = (unit: string): void => {
    const others = (starting.get(unit) ?? 1) - 1;
    if (others > 0) {
      starting.set(unit, others);
      return;
    }
    starting.delete(unit);
    for (const [key, one] of unclaimed) if (one.unit === unit) unclaimed.delete(key);
  };

  return {
    async exec(connection, host, params) {
      const { key: unit } = host.unit;
      starting.set(unit, (starting.get(unit) ?? 0) + 1);
      try {
        const answer = await host.call("session.shell.exec", params);
        const result = answer.result();
        const { runtime } = host;
        if (runtime !== undefined && isObject(result) && typeof result.processId === "string")
          adopt(keyOf(runtime, result.processId), connection, host);
        return new RawJson(answer.resultBytes());
      } finally {
        started(unit);
      }
    },
    told(runtime, frame) {
      const params = frame.params();
      if (!isObject(params) || typeof params.processId !== "string") return;
      const key = keyOf(runtime, params.processId);
      const shell = shells.get(key);
      if (shell === undefined) keep(runtime, key, frame);
      else take(key, shell, frame);
    },
    running: (sessionId) => [...shells.values()].some(({ host }) => host.row.id === sessionId),
    left(sessionId) {
      for (const [key, { host }] of shells) if (host.row.id === sessionId) shells.delete(key);
    },
  };
};
