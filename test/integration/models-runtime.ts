import { spawn } from "node:child_process";
import { once } from "node:events";
import { closeSync, openSync, readdirSync, readFileSync, readSync, statSync } from "node:fs";
import { join } from "node:path";
import { systemClock } from "../../src/kernel/clock.ts";
import { isObject } from "../../src/kernel/json.ts";
import type { ModelGateway } from "../../src/models/model-gateway.ts";
import { createPeer, type Peer } from "../../src/wire/peer.ts";
import { cleanEnvironment, runtimeBinary } from "../support/bare-runtime.ts";
import { tempDir } from "../support/temp.ts";
import { eventually, within } from "../support/wait.ts";

interface SessionEvent {
  readonly type: string;
  readonly data: Record<string, unknown>;
}

/** A real runtime on a pipe whose model calls `gateway` answers. */
export const startPipedRuntime = async (gateway: ModelGateway) => {
  const home = await tempDir("models");
  const child = spawn(runtimeBinary(), ["--headless", "--no-auto-update", "--no-auto-login", "--stdio"], {
    cwd: home.path,
    env: cleanEnvironment(home.path),
    stdio: ["pipe", "pipe", "ignore"],
  });
  const exited = once(child, "exit");
  const killNow = () => child.kill("SIGKILL");
  process.once("exit", killNow);
  const events = new Map<string, SessionEvent[]>();
  const eventsOf = (sessionId: string): SessionEvent[] => {
    const list = events.get(sessionId) ?? [];
    events.set(sessionId, list);
    return list;
  };
  const peer: Peer = createPeer({
    input: child.stdout,
    output: child.stdin,
    clock: systemClock,
    handler: {
      request: async (frame) => {
        const runtime = { id: "runtime-1", peer };
        if (frame.method === "llmInference.httpRequestStart")
          return gateway.httpRequestStart(runtime, frame.params());
        if (frame.method === "llmInference.httpRequestChunk")
          return gateway.httpRequestChunk(runtime, frame.params());
        return {};
      },
      notification: (frame) => {
        const params = frame.params();
        if (frame.method !== "session.event" || frame.sessionId === undefined || !isObject(params)) return;
        eventsOf(frame.sessionId).push(params.event as SessionEvent);
      },
    },
  });
  const request = async (method: string, params: unknown) =>
    (await peer.request(method, params, { timeoutMs: 20_000 })).result();
  const stop = async () => {
    process.off("exit", killNow);
    killNow();
    await exited;
    peer.close();
    await home.remove();
  };

  /** Sends a prompt and gives back all events up to the session's idle. */
  const turn = async (sessionId: string, prompt: string): Promise<SessionEvent[]> => {
    const list = eventsOf(sessionId);
    const from = list.length;
    await request("session.send", { sessionId, prompt });
    await eventually(() => list.slice(from).some((event) => event.type === "session.idle"), {
      what: `the turn of ${sessionId} ends`,
      deadlineMs: 30_000,
    });
    return list.slice(from);
  };
  try {
    await within(request("connect", { supportedTaskKinds: ["agent"] }), { what: "the runtime answers" });
    await request("llmInference.setProvider", {});
  } catch (error) {
    await stop();
    throw error;
  }
  return {
    pid: child.pid ?? 0,
    home: home.path,
    request,
    turn,
    eventsOf,
    create: (sessionId: string, parameters: Record<string, unknown>) =>
      request("session.create", {
        sessionId,
        model: "m1",
        streaming: true,
        availableTools: ["custom:*"],
        requestPermission: true,
        envValueMode: "direct",
        ...parameters,
      }),
    [Symbol.asyncDispose]: stop,
  };
};

/** Does any readable page of the process hold these bytes? `undefined` when this system does not let us look. */
export const memoryHolds = (pid: number, text: string): boolean | undefined => {
  const needle = Buffer.from(text);
  const block = Buffer.alloc(4 * 1024 * 1024);
  let file: number;
  try {
    file = openSync(`/proc/${pid}/mem`, "r");
  } catch {
    return undefined;
  }
  let looked = 0;
  try {
    for (const line of readFileSync(`/proc/${pid}/maps`, "utf8").split("\n")) {
      const [, from, until] = /^([0-9a-f]+)-([0-9a-f]+) r/.exec(line) ?? [];
      if (from === undefined || until === undefined || /\[v(var|syscall|dso)/.test(line)) continue;
      const end = Number.parseInt(until, 16);
      // Blocks overlap by the needle, which may lie across their border.
      for (let at = Number.parseInt(from, 16); at < end; at += block.length - needle.length) {
        let read = 0;
        try {
          read = readSync(file, block, 0, Math.min(block.length, end - at), at);
        } catch {
          break; // A page that went away or may not be read.
        }
        looked += read;
        if (block.subarray(0, read).includes(needle)) return true;
      }
    }
  } finally {
    closeSync(file);
  }
  return looked > 0 ? false : undefined;
};

/** The files below `directory` that hold the text. */
export const filesHolding = (directory: string, text: string): string[] =>
  readdirSync(directory, { recursive: true, encoding: "utf8" })
    .map((name) => join(directory, name))
    .filter((path) => statSync(path).isFile() && readFileSync(path).includes(text));
