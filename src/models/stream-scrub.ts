import { isObject } from "../kernel/json.ts";
import { scrubbedError } from "./scrub.ts";

/** An error within a stream that began well has no status of its own. */
const streamStatus = 500;
/** A line of an event stream that is longer than this ends the call: what is in it could not be judged. */
const maxLineBytes = 8 * 1024 * 1024;

const scrubbed = (error: unknown): unknown => scrubbedError(streamStatus, JSON.stringify({ error })).error;

/**
 * A provider's event with the words of its error replaced by ours: `{error}` (chat completions, Anthropic), `{type:
 * "error", code, message}` and `{type: "response.failed", response: {error}}` (responses). The same value when it is none.
 */
export const scrubbedEvent = (event: unknown): unknown => {
  if (!isObject(event)) return event;
  if (isObject(event.error)) return { ...event, error: scrubbed(event.error) };
  if (event.type === "error") {
    const { code, message } = scrubbedError(streamStatus, JSON.stringify(event)).error;
    return { type: "error", code, message };
  }
  if (isObject(event.response) && isObject(event.response.error)) {
    return { ...event, response: { ...event.response, error: scrubbed(event.response.error) } };
  }
  return event;
};

/** The same for an event as text; what is no JSON is left as it is. */
export const scrubbedText = (text: string): string => {
  try {
    const event: unknown = JSON.parse(text);
    const shown = scrubbedEvent(event);
    return shown === event ? text : JSON.stringify(shown);
  } catch (error) {
    if (error instanceof SyntaxError) return text;
    throw error;
  }
};

const field = "data:";

const scrubbedLine = (line: string): string => {
  if (!line.startsWith(field)) return line;
  const text = line.slice(field.length);
  const shown = scrubbedText(text);
  return shown === text ? line : `${field} ${shown}`;
};

/** Passes an event stream on, whole lines at a time, with the errors in it scrubbed. All else keeps its bytes. */
export interface StreamScrubber {
  /** What may be passed on now; empty while a line is incomplete. Throws for an endless line. */
  push(chunk: Buffer): Buffer;
  /** What is left at the end of the stream. */
  end(): Buffer;
}

export const createStreamScrubber = (): StreamScrubber => {
  let tail: Buffer = Buffer.alloc(0);

  const judged = (lines: Buffer): Buffer =>
    lines.includes('"error"')
      ? Buffer.from(lines.toString("utf8").split("\n").map(scrubbedLine).join("\n"))
      : lines;

  return {
    push(chunk) {
      const bytes = tail.length === 0 ? chunk : Buffer.concat([tail, chunk]);
      const end = bytes.lastIndexOf(0x0a) + 1;
      tail = bytes.subarray(end);
      if (tail.length > maxLineBytes) {
        throw new Error(`A line of the provider's answer is longer than ${maxLineBytes} bytes.`);
      }
      return judged(bytes.subarray(0, end));
    },
    end() {
      const rest = judged(tail);
      tail = Buffer.alloc(0);
      return rest;
    },
  };
};
