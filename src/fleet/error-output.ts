import type { Readable } from "node:stream";
import type { Clock } from "../kernel/clock.ts";
import type { Secret } from "../kernel/secret.ts";
import type { Log } from "../telemetry/log.ts";
import { loggableText } from "../telemetry/mask.ts";

const limits = { lineLength: 1_000, linesPerWindow: 50, windowMs: 1_000, tailLines: 20 };
/** Shorter values, such as `1` or `true`, are no secrets, and masking them would make the rest unreadable. */
const shortestSecret = 6;

/** What a runtime writes to its standard error. */
export interface ErrorOutput {
  /** The last lines, masked. */
  tail(): readonly string[];
}

/**
 * Passes the lines to the log: masked, cut to a length, and at most so many a second; what is left out is counted.
 * `secrets` are values that the process was given and may print.
 */
export const followErrorOutput = (
  stream: Readable,
  options: { log: Log; clock: Clock; secrets: Iterable<Secret> },
): ErrorOutput => {
  const { log, clock } = options;
  const values = [...options.secrets]
    .map((secret) => secret.reveal())
    .filter((value) => value.length >= shortestSecret);
  const mask = (line: string): string => {
    let masked = line;
    for (const value of values) masked = masked.replaceAll(value, "[secret]");
    return loggableText(masked, limits.lineLength);
  };

  const tail: string[] = [];
  let window = { endsAt: 0, lines: 0, dropped: 0 };
  const reportDropped = () => {
    if (window.dropped > 0) log.warn({ lines: window.dropped }, "the runtime wrote more than is logged");
  };
  const emit = (raw: string) => {
    const line = mask(raw);
    if (line.trim() === "") return;
    tail.push(line);
    if (tail.length > limits.tailLines) tail.shift();
    if (clock.monotonic() >= window.endsAt) {
      reportDropped();
      window = { endsAt: clock.monotonic() + limits.windowMs, lines: 0, dropped: 0 };
    }
    if (window.lines++ < limits.linesPerWindow) log.info({ line }, "runtime stderr");
    else window.dropped++;
  };

  // One line more than its limit is kept, so that a secret at the cut is still recognised as a whole.
  const kept = limits.lineLength * 2;
  let partial = "";
  stream.setEncoding("utf8");
  stream.on("data", (text: string) => {
    const lines = text.split("\n");
    for (const [index, piece] of lines.entries()) {
      if (partial.length < kept) partial += piece.slice(0, kept - partial.length);
      if (index === lines.length - 1) break;
      emit(partial);
      partial = "";
    }
  });
  stream.on("close", () => {
    emit(partial);
    partial = "";
    reportDropped();
    window = { ...window, dropped: 0 };
  });
  return { tail: () => [...tail] };
};
