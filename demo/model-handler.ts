import { once } from "node:events";
import type { IncomingHttpHeaders, IncomingMessage, ServerResponse } from "node:http";
import { setTimeout as sleep } from "node:timers/promises";
import { LRUCache } from "lru-cache";
import { SquadronError } from "../src/kernel/errors.ts";
import { newUuid } from "../src/kernel/ids.ts";
import { chatCompletions } from "./chat-completions.ts";
import { createHolds, type Holds } from "./holds.ts";
import { responsesApi } from "./responses-api.ts";
import { type Conversation, type Move, nextMove } from "./script.ts";
import type { Reply, WireFormat } from "./wire-format.ts";

export const scriptedModels = ["scripted-1", "scripted-2"] as const;

/** A request as it was received, and what has become of it. */
export interface ReceivedRequest {
  readonly method: string;
  readonly path: string;
  readonly headers: IncomingHttpHeaders;
  /** The parsed JSON body; `undefined` when there was none. */
  readonly body: unknown;
  outcome: "running" | "answered" | "refused" | "cut" | "aborted";
}

export interface ModelOptions {
  /** When given, requests need it as bearer key and get 401 otherwise. */
  readonly apiKey?: string;
  /** How many of the latest requests are remembered; 200 unless told. */
  readonly keepRequests?: number;
  /** What it does at some prompts, as directives, by the prompts' words. */
  readonly cues?: ReadonlyMap<string, string>;
  /** Milliseconds before each word of an answer to a prompt without directives; 0 unless told. */
  readonly pace?: number;
  /** Told of each conversation before it is answered. */
  readonly onConversation?: (conversation: Conversation) => void;
}

/** The scripted model without a server of its own. */
export interface ModelHandler {
  /** Answers one request whose path is one of OpenAI's, with or without `/v1` before it. Never rejects. */
  handle(request: IncomingMessage, response: ServerResponse): Promise<void>;
  /** The latest requests, oldest first. */
  readonly requests: readonly ReceivedRequest[];
  readonly release: Holds["release"];
  /** How many replies are held under this name now. */
  readonly holding: Holds["count"];
  /** Ends every reply that still runs. */
  stop(): void;
}

const maxBodyBytes = 64 * 1024 * 1024;
const formats: Readonly<Record<string, WireFormat>> = {
  "/chat/completions": chatCompletions,
  "/responses": responsesApi,
};

/** The bearer token of a request, or an empty string. */
export const bearerOf = (request: IncomingMessage): string =>
  /^bearer\s+(.*)$/i.exec(request.headers.authorization ?? "")?.[1] ?? "";

/** Answers with JSON in one piece. */
export const sendJson = (response: ServerResponse, status: number, body: unknown): void => {
  response.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify(body));
};

const sendError = (response: ServerResponse, status: number, message: string): void =>
  sendJson(response, status, { error: { message, type: "scripted_error", code: String(status) } });

const readBody = async (request: IncomingMessage): Promise<unknown> => {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    bytes += chunk.length;
    if (bytes > maxBodyBytes) throw new SquadronError("too_large", `The body is over ${maxBodyBytes} bytes.`);
    chunks.push(chunk);
  }
  if (bytes === 0) return undefined;
  try {
    return JSON.parse(Buffer.concat(chunks).toString("utf8")) as unknown;
  } catch (error) {
    throw new SquadronError("invalid_request", "The body is not JSON.", { cause: error });
  }
};

export const createModelHandler = (options: ModelOptions = {}): ModelHandler => {
  const { apiKey, keepRequests = 200, cues, pace = 0 } = options;
  const holds = createHolds();
  const stopped = new AbortController();
  const requests: ReceivedRequest[] = [];
  const failures = new LRUCache<string, number>({ max: 1_000 });

  const failsNow = (prompt: string, times: number): boolean => {
    const failed = failures.get(prompt) ?? 0;
    failures.set(prompt, failed + 1);
    return failed < times;
  };

  const write = async (response: ServerResponse, text: string, signal: AbortSignal): Promise<void> => {
    if (!response.write(text)) await once(response, "drain", { signal });
  };

  const say = async (
    response: ServerResponse,
    move: Extract<Move, { kind: "say" }>,
    emit: (chunk: string) => Promise<void>,
    signal: AbortSignal,
  ): Promise<"said" | "cut"> => {
    for (const [index, chunk] of move.chunks.entries()) {
      if (move.delayMs > 0) await sleep(move.delayMs, undefined, { signal });
      await emit(chunk);
      if (index > 0) continue;
      if (move.hold !== undefined) await holds.wait(move.hold, signal);
      if (move.cut) {
        // After what was written has left, so that the caller does see the beginning of a stream.
        response.socket?.destroySoon();
        return "cut";
      }
    }
    return "said";
  };

  const reply = async (
    conversation: Conversation,
    format: WireFormat,
    key: string,
    response: ServerResponse,
    signal: AbortSignal,
  ): Promise<ReceivedRequest["outcome"]> => {
    options.onConversation?.(conversation);
    const move = nextMove(conversation, { key, failsNow, pace, ...(cues !== undefined && { cues }) });
    if (move.kind === "fail") {
      const refused =
        move.status === 401 ? `Incorrect API key provided: ${key}.` : "Asked to fail by the prompt.";
      sendError(response, move.status, refused);
      return "refused";
    }
    const id = newUuid();
    const complete: Reply = {
      id,
      model: conversation.model,
      text: move.kind === "say" ? move.chunks.join("") : "",
      call: move.kind === "call" ? { id: `call_${newUuid()}`, tool: move.tool, args: move.args } : undefined,
      usage: move.usage,
    };
    const stream = conversation.stream ? format.stream(id, conversation.model) : undefined;
    if (stream) {
      response.writeHead(200, { "content-type": "text/event-stream", "cache-control": "no-store" });
      await write(response, stream.start(), signal);
    }
    const emit = async (chunk: string) => {
      if (stream) await write(response, stream.chunk(chunk), signal);
    };
    if (move.kind === "say" && (await say(response, move, emit, signal)) === "cut") return "cut";
    if (stream) response.end(stream.end(complete));
    else sendJson(response, 200, format.whole(complete));
    return "answered";
  };

  const answer = async (
    request: IncomingMessage,
    response: ServerResponse,
    entry: ReceivedRequest,
    signal: AbortSignal,
  ): Promise<ReceivedRequest["outcome"]> => {
    const key = bearerOf(request);
    if (apiKey !== undefined && key !== apiKey) {
      sendError(response, 401, `Incorrect API key provided: ${key}.`);
      return "refused";
    }
    if (entry.method === "GET" && entry.path === "/models") {
      const data = scriptedModels.map((id) => ({ id, object: "model", created: 0, owned_by: "scripted" }));
      sendJson(response, 200, { object: "list", data });
      return "answered";
    }
    const format = entry.method === "POST" ? formats[entry.path] : undefined;
    if (!format) {
      sendError(response, 404, `The scripted model has no ${entry.method} ${entry.path}.`);
      return "refused";
    }
    return reply(format.read(entry.body), format, key, response, signal);
  };

  const handle = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    const gone = new AbortController();
    response.once("close", () => gone.abort());
    const signal = AbortSignal.any([gone.signal, stopped.signal]);
    let entry: ReceivedRequest | undefined;
    try {
      const path = new URL(request.url ?? "/", "http://localhost").pathname.replace(/^\/v1(?=\/)/, "");
      const body = await readBody(request);
      entry = { method: request.method ?? "", path, headers: request.headers, body, outcome: "running" };
      requests.push(entry);
      if (requests.length > keepRequests) requests.shift();
      entry.outcome = await answer(request, response, entry, signal);
    } catch (error) {
      if (entry) entry.outcome = signal.aborted ? "aborted" : "refused";
      if (signal.aborted || response.headersSent) response.destroy();
      else if (error instanceof SquadronError) sendError(response, error.httpStatus, error.message);
      else sendError(response, 500, String(error));
    }
  };

  return { handle, requests, release: holds.release, holding: holds.count, stop: () => stopped.abort() };
};
