import type { Clock } from "../kernel/clock.ts";
import { SquadronError } from "../kernel/errors.ts";
import { isObject } from "../kernel/json.ts";
import type { Secret } from "../kernel/secret.ts";
import type { Log } from "../telemetry/log.ts";
import { createPeer, type Peer, type PeerHandler } from "../wire/peer.ts";
import { type Box, type Launcher, openBox, runtimeEnvironment } from "./box.ts";
import { makeBoxDirectory, removeBoxDirectory } from "./box-directory.ts";
import { followErrorOutput } from "./error-output.ts";
import type { BoxPlace } from "./sandbox/confinement.ts";
import type { Allocation, Sandbox } from "./sandbox/sandbox.ts";

/** How every runtime of the node is started. */
export interface HousingSettings {
  readonly launcher: Launcher;
  readonly executable: string;
  readonly args: readonly string[];
  readonly env: Readonly<Record<string, Secret>>;
  /** Undefined: an own directory for each process. */
  readonly workingDirectory: string | undefined;
  readonly statePath: string;
  readonly sandbox: Sandbox;
  readonly clock: Clock;
}

/** A process that has been started, and what it holds: its directories, its place in the sandbox, its pipe. */
export interface Housing {
  readonly place: BoxPlace;
  readonly seat: Allocation;
  readonly box: Box;
  readonly peer: Peer;
  /** Who answers it from now on; before that, nobody does. */
  serve(handler: PeerHandler): void;
  /** The last lines of its standard error, masked. */
  errorLines(): readonly string[];
  /** Removes its directories and gives its place back. All its processes must be gone. */
  vacate(): Promise<void>;
}

const baseArguments = ["--headless", "--no-auto-update", "--no-auto-login", "--stdio"];
const protocolVersion = 3;
/** What the node can pass on of a session's tasks. */
export const taskKinds = ["agent", "client", "shell"];

/** Starts a process in directories of its own. What was made is removed again if that fails. */
export const house = async (settings: HousingSettings, log: Log): Promise<Housing> => {
  const { sandbox, clock, env } = settings;
  const place = await makeBoxDirectory(settings.statePath, settings.workingDirectory);
  let seat: Allocation | undefined;
  const vacate = async (): Promise<void> => {
    // The user id of the place may be another box's as soon as it is given back.
    await removeBoxDirectory(place.root);
    await seat?.release();
  };
  try {
    seat = await sandbox.allocate(place);
    const extra = Object.fromEntries(Object.entries(env).map(([name, value]) => [name, value.reveal()]));
    const box = await openBox({
      launcher: settings.launcher,
      command: [settings.executable, ...baseArguments, ...settings.args],
      environment: runtimeEnvironment(seat.inside, extra),
      workingDirectory: seat.inside.work,
      temporary: place.temporary,
      confinement: seat.confinement,
      clock,
    });
    const { tail } = followErrorOutput(box.errorOutput, { log, clock, secrets: Object.values(env) });
    return { place, seat, box, ...pipeOf(box, clock, log), errorLines: tail, vacate };
  } catch (error) {
    await vacate().catch((failure) => log.error({ error: failure }, "a box could not be removed"));
    throw error;
  }
};

const pipeOf = (box: Box, clock: Clock, log: Log): Pick<Housing, "peer" | "serve"> => {
  let handler: PeerHandler | undefined;
  const peer = createPeer({
    input: box.output,
    output: box.input,
    clock,
    handler: {
      request: async (frame) => {
        if (handler === undefined)
          throw new SquadronError("method_unknown", "Nobody serves this runtime yet.");
        return handler.request(frame);
      },
      notification: (frame) => handler?.notification(frame),
    },
    onProtocolError: (error) => log.error({ error }, "a runtime broke the protocol"),
    onHandlerFailure: (error, frame) => log.error({ error, method: frame.method }, "a callback failed"),
  });
  return {
    peer,
    serve: (given) => {
      handler = given;
    },
  };
};

/** The first words on the pipe; resolves with the runtime's version. After them all its model calls come to us. */
export const handshake = async (peer: Peer): Promise<string> => {
  const connected = (await peer.request("connect", { supportedTaskKinds: taskKinds })).result();
  if (!isObject(connected) || connected.protocolVersion !== protocolVersion) {
    const spoken = isObject(connected) ? connected.protocolVersion : undefined;
    throw new SquadronError(
      "upstream_error",
      `It speaks protocol ${String(spoken)}; this node needs ${protocolVersion}.`,
    );
  }
  await peer.request("llmInference.setProvider", {});
  return typeof connected.version === "string" ? connected.version : "unknown";
};
