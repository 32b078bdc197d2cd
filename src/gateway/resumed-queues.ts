import type { Clock } from "../kernel/clock.ts";
import type { Store } from "../store/store.ts";
import type { Log } from "../telemetry/log.ts";
import { unlessDeleted } from "./deleted.ts";
import type { Hosts } from "./hosts.ts";

/** Sessions that work off what a former node had promised, at once: others want to be served as well. */
const atOnce = 4;
const pageSize = 100;

/** Looks, now and again and again, for what nodes have left that live no more, and runs what they had promised to run. */
export interface ResumedQueues {
  /** Begins with no other session; what has begun goes on. */
  stop(): void;
}

export const resumeQueues = (options: {
  readonly store: Store;
  readonly hosts: Hosts;
  readonly clock: Clock;
  readonly log: Log;
  readonly everyMs: number;
}): ResumedQueues => {
  const { store, hosts, clock, log, everyMs } = options;
  let stopped = false;
  let cancelTimer = (): void => {};

  const resume = async (sessionId: string): Promise<void> => {
    const row = await store.sessions.byId(sessionId);
    if (stopped) return;
    const host = row && (await unlessDeleted(hosts.of(row)));
    await host?.resume();
    // What comes after these is not ours to wait for: a session that is never quiet would keep others from theirs.
    await Promise.all([host?.turn, ...(host?.waiting ?? [])].map((turn) => turn?.ended));
  };

  const resumeAll = async (sessions: readonly string[]): Promise<void> => {
    const left = [...sessions];
    const work = async (): Promise<void> => {
      for (let session = left.shift(); session !== undefined && !stopped; session = left.shift()) {
        const named = session;
        await resume(named).catch((error) =>
          log.error({ session: named, error }, "the messages that wait in a session could not be taken up"),
        );
      }
    };
    await Promise.all(Array.from({ length: atOnce }, work));
  };

  const look = async (): Promise<void> => {
    const at = clock.now();
    const settled = await store.turns.settleAll(at);
    if (settled > 0) log.warn({ settled }, "turns of a node that lives no more were interrupted by its end");
    let page: readonly string[] = [];
    do {
      page = await store.turns.claimable({ at, limit: pageSize, after: page.at(-1) ?? "" });
      await resumeAll(page);
    } while (page.length === pageSize && !stopped);
  };

  const tick = (): void => {
    look()
      .catch((error) => log.error({ error }, "what other nodes have left could not be looked for"))
      .finally(() => {
        if (!stopped) cancelTimer = clock.after(everyMs, tick);
      });
  };
  tick();

  return {
    stop() {
      stopped = true;
      cancelTimer();
    },
  };
};
