import type { Outcome } from "./journal.ts";

/** With these the node says that it has not begun with the message. */
const refusals = new Set([
  "draining",
  "no_capacity",
  "held_elsewhere",
  "fenced",
  "queue_full",
  "busy",
  "rate_limited",
  "quota_exceeded",
  "runtime_start_failed",
]);
const interruptions = new Set(["turn_interrupted", "runtime_gone"]);

/** What an error with this code tells a client about its message. */
export const outcomeOf = (code: string, message: string, retryAfterMs?: number): Outcome => {
  if (refusals.has(code)) return { kind: "refused", code, retryAfterMs };
  if (interruptions.has(code)) return { kind: "interrupted", code, message };
  return { kind: "failed", code, message };
};

/** Nobody listened: the message has gone nowhere. */
export const unreachable: Extract<Outcome, { kind: "refused" }> = {
  kind: "refused",
  code: "unreachable",
  retryAfterMs: 100,
};

export type Settled<T> =
  | { readonly kind: "ok"; readonly value: T }
  | { readonly kind: "error"; readonly error: unknown }
  | { readonly kind: "hung" };

/** What becomes of the promise within the deadline. */
export const settle = async <T>(promise: Promise<T>, deadlineMs: number): Promise<Settled<T>> => {
  const { promise: late, resolve } = Promise.withResolvers<Settled<T>>();
  const timer = setTimeout(() => resolve({ kind: "hung" }), deadlineMs);
  try {
    const done = promise.then<Settled<T>, Settled<T>>(
      (value) => ({ kind: "ok", value }),
      (error: unknown) => ({ kind: "error", error }),
    );
    return await Promise.race([done, late]);
  } finally {
    clearTimeout(timer);
  }
};

export const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));
