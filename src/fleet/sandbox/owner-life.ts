import { readFileSync } from "node:fs";
import { startTicksOf } from "../process-table.ts";

/** Does the node process live that an owner tag (see leftovers.ts) names? A reused pid has another start. */
export const ownerLives = (tag: string): boolean => {
  const [pid, ticks] = tag.split(".").map(Number);
  return pid !== undefined && startTicksOf(pid) === ticks && !isZombie(pid);
};

/** Has it ended, though its parent has not taken notice yet? */
export const isZombie = (pid: number): boolean => {
  try {
    return /^State:\s+[ZX]/m.test(readFileSync(`/proc/${pid}/status`, "latin1"));
  } catch {
    // There is no such process at all.
    return false;
  }
};
