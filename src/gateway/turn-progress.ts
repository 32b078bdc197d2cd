import { isObject } from "../kernel/json.ts";
import type { TurnOutcome, Usage } from "../sessions/turn.ts";

/** What a runtime's events have told of a turn so far. Times are monotonic milliseconds. */
export interface TurnProgress {
  readonly startedAt: number;
  readonly firstTokenAt: number | undefined;
  /** Has a `session.error` come? */
  readonly failed: boolean;
  /** Has the model's part failed, and must a `session.error` still say how? It comes after the idle sometimes. */
  readonly owesError: boolean;
  observe(type: string, data: unknown): void;
  timedOut(message: string): void;
  /** How it has gone if it ends now. */
  outcome(): TurnOutcome;
}

export const createTurnProgress = (now: () => number): TurnProgress => {
  let content = "";
  let usage: Usage = { inputTokens: 0, outputTokens: 0 };
  let error: { readonly reason: "error" | "timeout"; readonly message: string } | undefined;
  let failing = false;
  let aborted = false;
  let firstTokenAt: number | undefined;

  return {
    startedAt: now(),
    get firstTokenAt() {
      return firstTokenAt;
    },
    get failed() {
      return error !== undefined;
    },
    get owesError() {
      return failing && error === undefined;
    },
    observe(type, data) {
      if (!isObject(data)) return;
      switch (type) {
        case "assistant.message":
          if (data.parentToolCallId === undefined && typeof data.content === "string" && data.content !== "")
            content = data.content;
          break;
        case "assistant.message_start":
          firstTokenAt ??= now();
          break;
        case "assistant.usage":
          usage = {
            inputTokens: usage.inputTokens + Number(data.inputTokens ?? 0),
            outputTokens: usage.outputTokens + Number(data.outputTokens ?? 0),
          };
          break;
        case "model.turn_failed":
          failing = true;
          break;
        case "session.error":
          error ??= {
            reason: "error",
            message: typeof data.message === "string" ? data.message : "The turn failed.",
          };
          break;
        case "session.idle":
          aborted ||= data.aborted === true;
          break;
      }
    },
    timedOut(message) {
      error = { reason: "timeout", message };
    },
    outcome() {
      if (error !== undefined) return { kind: "failed", ...error, content, usage };
      return aborted ? { kind: "aborted", content, usage } : { kind: "completed", content, usage };
    },
  };
};
