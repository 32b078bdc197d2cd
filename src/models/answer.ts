import { SquadronError } from "../kernel/errors.ts";
import { isObject } from "../kernel/json.ts";
import type { Peer } from "../wire/peer.ts";
import type { HeaderLists } from "./protocol.ts";

/** Our answer to one model call, on the runtime's pipe. Each call is awaited before the next: the pipe keeps no order. */
export interface Answer {
  /** Has the head been sent? */
  readonly started: boolean;
  start(status: number, headers: HeaderLists): Promise<void>;
  /** Bytes go as base64, so that they arrive exactly as they are; a string is one text message. */
  write(data: Uint8Array | string): Promise<void>;
  end(): Promise<void>;
  /** Ends with a transport failure, which the runtime retries. */
  fail(code: string, message: string): Promise<void>;
  /** A whole JSON answer: head, body, end. */
  json(status: number, body: unknown, headers?: HeaderLists): Promise<void>;
}

/**
 * Every function rejects with `cancelled` when the runtime no longer waits for this answer,
 * with `timeout` when it does not take a frame within `timeoutMs`, and as `Peer.request` does.
 */
export const createAnswer = (options: {
  peer: Peer;
  requestId: string;
  timeoutMs: number;
  signal: AbortSignal;
}): Answer => {
  const { peer, requestId, timeoutMs, signal } = options;
  let state: "head" | "body" | "done" = "head";

  const send = async (method: string, fields: Record<string, unknown>) => {
    const frame = await peer.request(method, { requestId, ...fields }, { timeoutMs, signal });
    const result = frame.result();
    if (isObject(result) && result.accepted === false) {
      throw new SquadronError("cancelled", "The runtime no longer waits for this model call.");
    }
  };
  const chunk = (fields: Record<string, unknown>) => send("llmInference.httpResponseChunk", fields);

  const answer: Answer = {
    get started() {
      return state !== "head";
    },
    start: async (status, headers) => {
      state = "body";
      await send("llmInference.httpResponseStart", { status, headers });
    },
    write: (data) =>
      typeof data === "string"
        ? chunk({ data, binary: false, end: false })
        : chunk({
            data: Buffer.from(data.buffer, data.byteOffset, data.byteLength).toString("base64"),
            binary: true,
            end: false,
          }),
    end: async () => {
      if (state === "done") return;
      state = "done";
      await chunk({ data: "", end: true });
    },
    fail: async (code, message) => {
      if (state === "done") return;
      state = "done";
      await chunk({ data: "", end: true, error: { message, code } });
    },
    json: async (status, body, headers = {}) => {
      await answer.start(status, { ...headers, "content-type": ["application/json"] });
      await answer.write(Buffer.from(JSON.stringify(body)));
      await answer.end();
    },
  };
  return answer;
};
