import type { Clock } from "../kernel/clock.ts";
import type { Attachment, Connection } from "./vocabulary.ts";

/** Longer than a client's program needs from one connection's answer to the next connection's question. */
const graceMs = 30;

/**
 * Ends of a turn for those who did not ask for it, told a moment later than to the one who did. A program that goes on
 * with another connection at once would otherwise get this end just after its own question, and take it for the answer.
 * The same goes for the idle behind an error, which has told its sender of the end already.
 * An end whose receiver asks within that moment is not told to it at all: its own turn's end comes next.
 */
export interface HeldEnds {
  hold(attachment: Attachment, tell: () => void): void;
  /** Before the next turn begins. */
  release(): void;
}

export const createHeldEnds = (options: {
  readonly clock: Clock;
  readonly attachments: readonly Attachment[];
  /** Has this connection a message in the session that is still to be answered? */
  readonly asks: (connection: Connection) => boolean;
}): HeldEnds => {
  const { clock, attachments, asks } = options;
  let held: { readonly attachment: Attachment; tell(): void }[] = [];
  let cancelTimer = (): void => {};

  const release = (): void => {
    if (held.length === 0) return;
    cancelTimer();
    const ends = held;
    held = [];
    for (const { attachment, tell } of ends) {
      if (attachments.includes(attachment) && !asks(attachment.connection)) tell();
    }
  };

  return {
    release,
    hold(attachment, tell) {
      if (held.length === 0) cancelTimer = clock.after(graceMs, release);
      held.push({ attachment, tell });
    },
  };
};
