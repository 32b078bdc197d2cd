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
const nothing = Buffer.alloc(0);

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
  /** Pieces of the line that has not ended. */
  let open: Buffer[] = [];
  let openBytes = 0;

  const taken = (last: Buffer): Buffer => {
    const bytes = open.length === 0 ? last : Buffer.concat([...open, last]);
    open = [];
    openBytes = 0;
    return judged(bytes);
  };

  const judged = (lines: Buffer): Buffer =>
    lines.includes('"error"')
      ? Buffer.from(lines.toString("utf8").split("\n").map(scrubbedLine).join("\n"))
      : lines;

  return {
    push(chunk) {
      const end = chunk.lastIndexOf(0x0a) + 1;
      const whole = end === 0 ? nothing : taken(chunk.subarray(0, end));
      const rest = chunk.subarray(end);
      if (rest.length > 0) open.push(rest);
      openBytes += rest.length;
      if (openBytes > maxLineBytes) {
        throw new Error(`A line of the provider's answer is longer than ${maxLineBytes} bytes.`);
      }
      return whole;
    },
    end: () => taken(nothing),
  };
};
