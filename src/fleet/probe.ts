import type { Clock } from "../kernel/clock.ts";
import { SquadronError } from "../kernel/errors.ts";
import type { Peer } from "../wire/peer.ts";

/** How long a runtime may take to answer a probe. */
const probeDeadlineMs = 5_000;
/** A deadline that fires this late says that we were stopped, not the runtime. */
const ownDelayMs = 1_000;

/** closed: there is nobody any more. again: there was no answer, but it may be our own fault. */
type Outcome = "answered" | "silent" | "again" | "closed";

/** Sends one `ping`. */
export const askIfAlive = async (peer: Peer, clock: Clock): Promise<Outcome> => {
  const began = clock.monotonic();
  try {
    await peer.request("ping", {}, { timeoutMs: probeDeadlineMs });
    return "answered";
  } catch (error) {
    if (error instanceof SquadronError && error.code === "connection_closed") return "closed";
    // An error is an answer too.
    if (!(error instanceof SquadronError && error.code === "timeout")) return "answered";
    return clock.monotonic() - began > probeDeadlineMs + ownDelayMs ? "again" : "silent";
  }
};

/**
 * Asks a runtime again and again whether it lives: a `ping` each `everyMs`, the first at once. `onAnswer` is awaited
 * before the next. Without an answer within the deadline `onSilence` is called once, and that is the end; it is so too
 * when the connection closes. The returned function ends it.
 */
export const startProbing = (options: {
  readonly peer: Peer;
  readonly clock: Clock;
  readonly everyMs: number;
  readonly onAnswer: () => Promise<void>;
  readonly onSilence: () => void;
}): (() => void) => {
  const { peer, clock, everyMs } = options;
  let ended = false;
  let cancel = (): void => undefined;

  const probe = async (): Promise<void> => {
    const began = clock.monotonic();
    const outcome = await askIfAlive(peer, clock);
    if (ended || outcome === "closed") return;
    if (outcome === "silent") return options.onSilence();
    if (outcome === "answered") await options.onAnswer();
    if (ended) return;
    const pause = outcome === "again" ? 0 : Math.max(0, everyMs - (clock.monotonic() - began));
    cancel = clock.after(pause, run);
  };
  const run = (): void => void probe();
  run();
  return () => {
    ended = true;
    cancel();
  };
};
