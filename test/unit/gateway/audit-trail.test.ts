import { expect, it } from "vitest";
import { createAuditTrail } from "../../../src/gateway/audit-trail.ts";
import type { AuditEntry, Store } from "../../../src/store/store.ts";
import { createLog } from "../../../src/telemetry/log.ts";
import { ManualClock } from "../../support/manual-clock.ts";

it("a flood of refused calls is cut, and takes the place of nothing else that is done", async () => {
  const stored: Omit<AuditEntry, "id">[] = [];
  const store = {
    audit: { append: async (...entries: typeof stored) => void stored.push(...entries) },
  } as unknown as Store;
  const audit = createAuditTrail({ store, clock: new ManualClock(), log: createLog({ level: "silent" }) });
  const bob = { tenant: "acme", user: "bob", roles: ["user"] } as const;
  for (let count = 0; count < 5_000; count++)
    audit.record(bob, { action: "call", target: "session.send", outcome: "forbidden" });
  for (let count = 0; count < 1_001; count++)
    audit.record(bob, { action: "participant.grant", target: "ses_1", outcome: "ok" });
  await audit.close();
  const of = (action: string) => stored.filter((entry) => entry.action === action).length;
  expect([of("call"), of("participant.grant")]).toEqual([1_000, 1_000]);
});
