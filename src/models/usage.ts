import { isObject } from "../kernel/json.ts";
import type { Usage } from "./grant.ts";

/** Longest line of an event stream, and largest whole body, in which tokens are looked for. */
const maxBytes = 4 * 1024 * 1024;
const usageStart = /"usage"\s*:\s*\{/;
const newline = 0x0a;

/** Reads token counts from an answer as it passes by; keeps at most one line of it (a body that is no stream: all). */
export interface UsageMeter {
  push(bytes: Uint8Array): void;
  /** A whole JSON message of a websocket. */
  message(text: string): void;
  /** The counts since the last `take`, if there were any. */
  take(): Usage | undefined;
}

interface Counts {
  input: number | undefined;
  output: number | undefined;
  cached: number | undefined;
}

const numberIn = (object: unknown, name: string): number | undefined => {
  const value = isObject(object) ? object[name] : undefined;
  return typeof value === "number" && Number.isFinite(value) && value >= 0 ? Math.floor(value) : undefined;
};

/** Counts of one answer only grow: a later event repeats or completes an earlier one. */
const larger = (a: number | undefined, b: number | undefined): number | undefined =>
  a === undefined ? b : b === undefined ? a : Math.max(a, b);

const countsOf = (usage: Record<string, unknown>): Counts => {
  const cacheRead = numberIn(usage, "cache_read_input_tokens");
  const cacheWrite = numberIn(usage, "cache_creation_input_tokens");
  const input = numberIn(usage, "prompt_tokens") ?? numberIn(usage, "input_tokens");
  return {
    // Anthropic does not count cached tokens as input, the others do.
    input: input === undefined ? undefined : input + (cacheRead ?? 0) + (cacheWrite ?? 0),
    output: numberIn(usage, "completion_tokens") ?? numberIn(usage, "output_tokens"),
    cached:
      cacheRead ??
      numberIn(usage.prompt_tokens_details, "cached_tokens") ??
      numberIn(usage.input_tokens_details, "cached_tokens"),
  };
};

/** Where the wire formats put it: chat completions and `message_delta`, responses, `message_start`. */
const usageOf = (message: unknown): Record<string, unknown> | undefined => {
  if (!isObject(message)) return undefined;
  for (const holder of [message, message.response, message.message]) {
    if (isObject(holder) && isObject(holder.usage)) return holder.usage;
  }
  return undefined;
};

const parsed = (text: string): unknown => {
  try {
    return JSON.parse(text);
  } catch (error) {
    if (error instanceof SyntaxError) return undefined;
    throw error;
  }
};

/** `model`: what was asked for. `contentType`: of the answer, tells a stream of events from one JSON body. */
export const createUsageMeter = (model: string, contentType: string): UsageMeter => {
  const stream = contentType.includes("event-stream");
  let counts: Counts = { input: undefined, output: undefined, cached: undefined };
  let kept: Buffer[] = [];
  let keptBytes = 0;
  let overlong = false;

  const message = (text: string) => {
    if (!usageStart.test(text)) return;
    const usage = usageOf(parsed(text));
    if (usage === undefined) return;
    const seen = countsOf(usage);
    counts = {
      input: larger(counts.input, seen.input),
      output: larger(counts.output, seen.output),
      cached: larger(counts.cached, seen.cached),
    };
  };

  const keep = (bytes: Buffer) => {
    if (overlong || bytes.length === 0) return;
    keptBytes += bytes.length;
    if (keptBytes > maxBytes) {
      overlong = true;
      kept = [];
      return;
    }
    // A copy: the socket's buffer is not ours for longer than this call.
    kept.push(Buffer.from(bytes));
  };

  const flush = () => {
    const text = overlong ? "" : Buffer.concat(kept).toString("utf8");
    kept = [];
    keptBytes = 0;
    overlong = false;
    message(stream ? text.replace(/^data:/, "") : text);
  };

  return {
    push: (chunk) => {
      const bytes = Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength);
      if (!stream) return keep(bytes);
      let from = 0;
      for (let at = bytes.indexOf(newline); at >= 0; at = bytes.indexOf(newline, from)) {
        keep(bytes.subarray(from, at));
        flush();
        from = at + 1;
      }
      keep(bytes.subarray(from));
    },
    message,
    take: () => {
      flush();
      const { input, output, cached } = counts;
      counts = { input: undefined, output: undefined, cached: undefined };
      if (input === undefined && output === undefined) return undefined;
      return { inputTokens: input ?? 0, outputTokens: output ?? 0, cachedTokens: cached ?? 0, model };
    },
  };
};
