import { startTicksOf } from "../process-table.ts";

/** Does the node process live that an owner tag (see leftovers.ts) names? A reused pid has another start. */
export const ownerLives = (tag: string): boolean => {
  const [pid, ticks] = tag.split(".").map(Number);
  return pid !== undefined && startTicksOf(pid) === ticks;
};
