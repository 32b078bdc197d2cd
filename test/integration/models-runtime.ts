import { readdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import type { ModelGateway } from "../../src/models/model-gateway.ts";
import { type SessionEvent, startPipedRuntime } from "../support/piped-runtime.ts";
import { eventually } from "../support/wait.ts";

/** A real runtime on a pipe whose model calls `gateway` answers. */
export const startModelRuntime = async (gateway: ModelGateway) => {
  const events = new Map<string, SessionEvent[]>();
  const eventsOf = (sessionId: string): SessionEvent[] => {
    const list = events.get(sessionId) ?? [];
    events.set(sessionId, list);
    return list;
  };
  const piped = await startPipedRuntime({
    heard: (event, sessionId) => eventsOf(sessionId).push(event),
    answer: (peer) => async (frame) => {
      const runtime = { id: "runtime-1", peer };
      if (frame.method === "llmInference.httpRequestStart")
        return gateway.httpRequestStart(runtime, frame.params());
      if (frame.method === "llmInference.httpRequestChunk")
        return gateway.httpRequestChunk(runtime, frame.params());
      return {};
    },
  });
  const { request } = piped;

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
    await request("llmInference.setProvider", {});
  } catch (error) {
    await piped[Symbol.asyncDispose]();
    throw error;
  }
  return {
    ...piped,
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
  };
};

/** The files below `directory` that hold the text. */
export const filesHolding = (directory: string, text: string): string[] =>
  readdirSync(directory, { recursive: true, encoding: "utf8" })
    .map((name) => join(directory, name))
    .filter((path) => statSync(path).isFile() && readFileSync(path).includes(text));
