import { spawn } from "node:child_process";
import { once } from "node:events";
import { systemClock } from "../../src/kernel/clock.ts";
import { isObject } from "../../src/kernel/json.ts";
import { createPeer, type Peer, type PeerHandler } from "../../src/wire/peer.ts";
import { cleanEnvironment, runtimeBinary } from "./bare-runtime.ts";
import { tempDir } from "./temp.ts";

export interface SessionEvent {
  readonly type: string;
  readonly data: Record<string, unknown>;
  readonly agentId?: string;
}

export interface PipedRuntime extends AsyncDisposable {
  readonly pid: number;
  readonly home: string;
  request(method: string, params: unknown): Promise<unknown>;
  /** Ends the process and leaves its home. */
  kill(): Promise<void>;
}

/** A real runtime in a home of its own, on a pipe, to which nobody but the test has connected. */
export const startPipedRuntime = async (options: {
  /** What it asks is answered by nothing, unless told. */
  readonly answer?: (peer: Peer) => PeerHandler["request"];
  readonly heard: (event: SessionEvent, sessionId: string) => void;
}): Promise<PipedRuntime> => {
  const home = await tempDir("runtime");
  const child = spawn(runtimeBinary(), ["--headless", "--no-auto-update", "--no-auto-login", "--stdio"], {
    cwd: home.path,
    env: cleanEnvironment(home.path),
    stdio: ["pipe", "pipe", "ignore"],
  });
  const exited = once(child, "exit");
  const killNow = () => child.kill("SIGKILL");
  process.once("exit", killNow);
  const peer: Peer = createPeer({
    input: child.stdout,
    output: child.stdin,
    clock: systemClock,
    handler: {
      request: async (frame) => (options.answer === undefined ? {} : options.answer(peer)(frame)),
      notification: (frame) => {
        const params = frame.params();
        if (frame.method !== "session.event" || frame.sessionId === undefined || !isObject(params)) return;
        options.heard(params.event as SessionEvent, frame.sessionId);
      },
    },
  });
  const request = async (method: string, params: unknown): Promise<unknown> =>
    (await peer.request(method, params, { timeoutMs: 20_000 })).result();
  const kill = async (): Promise<void> => {
    process.off("exit", killNow);
    killNow();
    await exited;
    peer.close();
  };
  const dispose = async (): Promise<void> => {
    await kill();
    await home.remove();
  };
  try {
    await request("connect", { supportedTaskKinds: ["agent"] });
  } catch (error) {
    await dispose();
    throw error;
  }
  return { pid: child.pid ?? 0, home: home.path, request, kill, [Symbol.asyncDispose]: dispose };
};
