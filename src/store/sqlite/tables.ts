import type { Generated, GeneratedAlways } from "kysely";
import type { AuditEntry, KeyRow, SessionName, SessionRow } from "../store.ts";

/** SQLite has no booleans. */
export type Flag = 0 | 1;

export interface SessionsTable extends Omit<SessionRow, "createdUpstream" | "ephemeral"> {
  readonly createdUpstream: Flag;
  readonly ephemeral: Flag;
}

export interface SessionNamesTable extends SessionName {
  readonly sessionId: string;
}

export interface KeysTable extends Omit<KeyRow, "roles"> {
  /** JSON list. */
  readonly roles: string;
}

export interface AuditTable extends Omit<AuditEntry, "id"> {
  readonly id: GeneratedAlways<number>;
}

/** The tables as migrations.ts makes them; columns are snake_case in SQL. */
export interface Tables {
  readonly sessions: SessionsTable;
  readonly sessionNames: SessionNamesTable;
  readonly deletedSessions: {
    readonly id: Generated<number>;
    readonly publicId: string;
    readonly tenant: string;
    readonly user: string;
  };
  readonly messageIds: { readonly sessionId: string; readonly runtimeId: string; readonly clientId: string };
  readonly keys: KeysTable;
  readonly audit: AuditTable;
}
