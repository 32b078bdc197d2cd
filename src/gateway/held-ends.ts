import type { Clock } from "../kernel/clock.ts";
import type { Attachment, Connection } from "./vocabulary.ts";

/** Longer than a client's program needs from one connection's answer to the next connection's question. */
const graceMs = 30;
/** The same when its own turn has failed: it knows that already, and nobody waits for this end. */
const failedGraceMs = 1_000;
/**
 * Longer than a message of a client is on its way to us, and what we tell it on its way there; a busy program looks at what
 * it was told 1 s ago only now (seen under load). Only a connection's first message waits for it, and what follows a failure.
 */
const crossingMs = 2_000;

/**
 * Ends of a turn for those who did not ask for it, told a moment later than to the one who did. A program that goes on
 * with another connection at once would otherwise get this end just after its own question, and take it for the answer.
 * The same goes for the idle behind an error, which has told its sender of the end already.
 * An end whose receiver asks within that moment is not told to it at all: its own turn's end comes next.
 */
export interface HeldEnds {
  hold(attachment: Attachment, tell: () => void, after?: "failure"): void;
  /** Before the next turn begins. */
  release(): void;
  /** An end has been told to one who has not asked for it. */
  told(connection: Connection): void;
  /** Its own turn's end has been told: an earlier end is no news to it any more. */
  drop(attachment: Attachment): void;
  /** May this connection, when it sent what has just come, not have seen an end that it has been told? */
  mayCross(connection: Connection): boolean;
}

export const createHeldEnds = (options: {
  readonly clock: Clock;
  readonly attachments: readonly Attachment[];
  /** Has this connection a message in the session that is still to be answered? */
  readonly asks: (connection: Connection) => boolean;
}): HeldEnds => {
  const { clock, attachments, asks } = options;
  const toldAt = new WeakMap<Connection, number>();
  const held = new Map<Attachment, { tell(): void; cancelTimer(): void }>();

  const release = (attachment: Attachment): void => {
    const end = held.get(attachment);
    if (end === undefined) return;
    held.delete(attachment);
    end.cancelTimer();
    if (!attachments.includes(attachment) || asks(attachment.connection)) return;
    end.tell();
    told(attachment.connection);
  };

  const told = (connection: Connection): void => {
    toldAt.set(connection, clock.monotonic());
  };

  return {
    release() {
      for (const attachment of [...held.keys()]) release(attachment);
    },
    told,
    drop(attachment) {
      held.get(attachment)?.cancelTimer();
      held.delete(attachment);
    },
    mayCross(connection) {
      const at = toldAt.get(connection);
      return at !== undefined && clock.monotonic() - at < crossingMs;
    },
    hold(attachment, tell, after) {
      // One that asked meanwhile, and whose question has ended too, waits for that end only.
      held.get(attachment)?.cancelTimer();
      const ms = after === "failure" ? failedGraceMs : graceMs;
      held.set(attachment, { tell, cancelTimer: clock.after(ms, () => release(attachment)) });
    },
  };
};
