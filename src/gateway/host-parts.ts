import type { SessionRow } from "../store/store.ts";
import { dismiss } from "./dismissal.ts";
import type { HostServices } from "./host-services.ts";
import type { HostTurns } from "./host-turns.ts";
import type { SessionAccess } from "./session-access.ts";
import type { SessionAttachments } from "./session-attachments.ts";
import { ownEvent, type ToldEvent } from "./told-event.ts";
import type { SessionHost } from "./vocabulary.ts";

/** What becomes of an open session when somebody's part in it is another one. */
export interface HostParts {
  readonly change: SessionHost["changePart"];
  /** Nodes do not tell each other of changes: takes in what the store says. */
  learn(): Promise<void>;
}

export const createHostParts = (options: {
  readonly services: Pick<HostServices, "clock" | "store" | "eventLogs" | "presence">;
  readonly row: Pick<SessionRow, "id">;
  readonly access: SessionAccess;
  readonly holders: Pick<SessionAttachments, "expel" | "roleChanged">;
  readonly turns: Pick<HostTurns, "expel">;
  readonly tellReaders: (event: ToldEvent) => void;
  /** Somebody may have held the session as the last one. */
  readonly onChanged: () => void;
}): HostParts => {
  const { row, access, holders, turns } = options;
  const { clock, store, eventLogs, presence } = options.services;

  const change: HostParts["change"] = async (user, role) => {
    access.set(user, role);
    if (role === null) {
      eventLogs.expel(row.id, user);
      for (const attachment of holders.expel(user)) dismiss(attachment, clock);
    } else holders.roleChanged(user);
    if (role === null || role === "reader") presence.typing(row.id, user, false);
    options.tellReaders(ownEvent(clock, "participant.changed", { user, role }));
    presence.participantsChanged(row.id);
    if (role === null) await turns.expel(user, "all");
    else if (role === "reader") await turns.expel(user, "waiting");
    options.onChanged();
  };

  return {
    change,
    async learn() {
      for (;;) {
        // Read anew each time: what takes a while may be old by then.
        const [changed] = access.changesTo(await store.sessions.namesOf(row.id));
        if (changed === undefined) return;
        await change(...changed);
      }
    },
  };
};
