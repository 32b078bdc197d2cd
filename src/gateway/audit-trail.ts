import type { Clock } from "../kernel/clock.ts";
import type { Principal } from "../kernel/principal.ts";
import type { AuditEntry, Store } from "../store/store.ts";
import type { Log } from "../telemetry/log.ts";

const flushAfterMs = 1000;
/** Of calls that were refused: a client can make any number of them. */
const maxRefused = 1000;
/** With all else that was done, for which there is room however many calls are refused. */
const maxPending = 2000;

/** Writes who did what into the store, in batches; a flood of denied frames must not become a flood of disk writes. */
export interface AuditTrail {
  record(
    principal: Principal,
    entry: { action: string; target: string; outcome: string; detail?: string },
  ): void;
  close(): Promise<void>;
}

export const createAuditTrail = (options: { store: Store; clock: Clock; log: Log }): AuditTrail => {
  const { store, clock, log } = options;
  let pending: Omit<AuditEntry, "id">[] = [];
  let dropped = 0;
  let cancelTimer: (() => void) | undefined;

  const flush = async (): Promise<void> => {
    cancelTimer?.();
    cancelTimer = undefined;
    const batch = pending;
    pending = [];
    if (dropped > 0) {
      log.warn({ dropped }, "audit entries were dropped: more than could be written came in one second");
      dropped = 0;
    }
    if (batch.length > 0) await store.audit.append(...batch);
  };

  const flushLater = (): void => {
    cancelTimer ??= clock.after(flushAfterMs, () => {
      flush().catch((error) => log.error({ error }, "audit entries were not stored"));
    });
  };

  return {
    record({ tenant, user }, { action, target, outcome, detail }) {
      if (pending.length >= (action === "call" ? maxRefused : maxPending)) {
        dropped += 1;
        return;
      }
      pending.push({ at: clock.now(), tenant, user, action, target, outcome, detail: detail ?? null });
      flushLater();
    },
    close: flush,
  };
};
