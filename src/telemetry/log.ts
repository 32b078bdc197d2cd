import { type DestinationStream, destination as fileDestination, type Logger, pino } from "pino";
import { loggable, loggableText } from "./mask.ts";

export type LogLevel = "trace" | "debug" | "info" | "warn" | "error" | "silent";

/** Facts of one line. Use the words of the house as keys: connection, request, turn, runtime, session, error. */
export type LogFields = Readonly<Record<string, unknown>>;

type Write = (fields: LogFields, message: string) => void;

/** Structured lines for the operator. What is logged is masked and bounded (see `loggable`). */
export interface Log {
  readonly trace: Write;
  readonly debug: Write;
  readonly info: Write;
  readonly warn: Write;
  readonly error: Write;
  /** A log whose every line carries these fields too. */
  child(bindings: LogFields): Log;
}

/** Lines waiting for a slow reader of our output; what goes over it is dropped. */
const maxWaitingBytes = 4 * 1024 * 1024;

/** A log of JSON lines on `destination` (default: standard output, written without blocking the node). */
export const createLog = (options: { level: LogLevel; destination?: DestinationStream }): Log => {
  const destination =
    options.destination ?? fileDestination({ dest: 1, sync: false, maxLength: maxWaitingBytes });
  const root = pino(
    {
      level: options.level,
      base: null,
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
    },
    destination,
  );
  return wrap(root);
};

const wrap = (lines: Logger): Log => {
  const at =
    (level: Exclude<LogLevel, "silent">): Write =>
    (fields, message) => {
      if (!lines.isLevelEnabled(level)) return;
      lines[level](loggable(fields), loggableText(message));
    };
  return {
    trace: at("trace"),
    debug: at("debug"),
    info: at("info"),
    warn: at("warn"),
    error: at("error"),
    child: (bindings) => wrap(lines.child(loggable(bindings))),
  };
};
