import { isObject } from "../kernel/json.ts";
import type { SessionRow, Store } from "../store/store.ts";
import type { Log } from "../telemetry/log.ts";

/** Keeps the title that a session gives itself, for lists of sessions; nobody waits for that. */
export const createTitleKeeper = (options: {
  readonly store: { readonly sessions: Pick<Store["sessions"], "update"> };
  readonly row: Pick<SessionRow, "id" | "ephemeral">;
  /** In which this node has the session. */
  readonly epoch: () => number | undefined;
  readonly log: Log;
}): ((eventType: string, data: unknown) => void) => {
  const { store, row, epoch, log } = options;
  return (eventType, data) => {
    if (eventType !== "session.title_changed" || !isObject(data)) return;
    const { title } = data;
    if (row.ephemeral || typeof title !== "string") return;
    store.sessions
      .update(row.id, { title }, epoch())
      .catch((error) => log.error({ session: row.id, error }, "the title of the session was not stored"));
  };
};
