/** What clients did and saw, and what was done to the node meanwhile. Times are milliseconds of one monotonic clock. */

/** The way by which a client comes. */
export type Door = "sdk" | "http" | "browser";

/** How a client was told that its message ended. */
export type Outcome =
  | { readonly kind: "answered"; readonly content: string; readonly turnId: string | undefined }
  /** The node said that it has not begun with it and never will. */
  | { readonly kind: "refused"; readonly code: string; readonly retryAfterMs: number | undefined }
  | { readonly kind: "interrupted"; readonly code: string; readonly message: string }
  /** Any other error; the message may have been worked at. */
  | { readonly kind: "failed"; readonly code: string; readonly message: string }
  /** The connection ended first. */
  | { readonly kind: "lost"; readonly reason: string }
  /** Nothing came within the client's deadline. */
  | { readonly kind: "hung" };

/** One message, sent once: trying again makes another attempt with a marker of its own. */
export interface Attempt {
  /** Unique; the prompt begins with it, and an answer repeats it. */
  readonly marker: string;
  readonly client: string;
  /** Whose it is, where a session has messages of several users. */
  readonly user?: string;
  readonly door: Door;
  readonly session: string;
  /** Must the answer tell what was said before? */
  readonly recalls: boolean;
  readonly sentAt: number;
  readonly settledAt: number;
  /** When the node said that it has taken it, if it did before the end. It keeps its place and runs from then on. */
  readonly takenAt?: number;
  /** Was it sent into the turn that ran? It stands before those that waited then. */
  readonly steered?: boolean;
  readonly outcome: Outcome;
}

/** A call that sends no message: create, resume, abort. */
export interface Call {
  readonly client: string;
  readonly what: string;
  readonly begunAt: number;
  readonly settledAt: number;
  readonly outcome: "ok" | "hung" | { readonly error: string };
}

/** Something done to the node or one of its runtimes. */
export interface Fault {
  readonly at: number;
  readonly what: string;
}

export interface Journal {
  readonly attempts: Attempt[];
  readonly calls: Call[];
  readonly faults: Fault[];
}

export const createJournal = (): Journal => ({ attempts: [], calls: [], faults: [] });

/** How often each outcome came, with its code: `answered`, `refused draining`, …, for people. */
export const tally = ({ attempts }: Pick<Journal, "attempts">): Readonly<Record<string, number>> => {
  const counts: Record<string, number> = {};
  for (const { outcome } of attempts) {
    const name = "code" in outcome ? `${outcome.kind} ${outcome.code}` : outcome.kind;
    counts[name] = (counts[name] ?? 0) + 1;
  }
  return counts;
};
