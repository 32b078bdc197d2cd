import type { Generated, GeneratedAlways } from "kysely";
import type { Isolation } from "../../kernel/isolation.ts";
import type {
  AuditEntry,
  BrowserSessionRow,
  FileScope,
  KeyRow,
  KnownMessage,
  NewInvite,
  RequestKeyUse,
  SessionName,
  SessionRow,
  StoredEntry,
  TokenDay,
  TurnRow,
} from "../store.ts";

/** SQLite has no booleans. */
export type Flag = 0 | 1;

export interface SessionsTable
  extends Omit<SessionRow, "createdUpstream" | "ephemeral" | "senderNames" | "sizeBytes"> {
  readonly createdUpstream: Flag;
  readonly ephemeral: Flag;
  readonly senderNames: Flag;
  readonly sizeBytes: Generated<number>;
  readonly epoch: Generated<number>;
  readonly version: Generated<number>;
}

export interface SessionNamesTable extends SessionName {
  readonly sessionId: string;
  /** Of the invite by which the user has come, which may be gone. */
  readonly inviteHash: string | null;
}

export interface KeysTable extends Omit<KeyRow, "roles"> {
  /** JSON list. */
  readonly roles: string;
}

export interface AuditTable extends Omit<AuditEntry, "id"> {
  readonly id: GeneratedAlways<number>;
}

export interface UnitsTable {
  readonly key: string;
  readonly tenant: string;
  readonly isolation: Isolation;
  readonly sizeBytes: number;
}

export interface FilesTable {
  readonly id: Generated<number>;
  readonly kind: FileScope["kind"];
  /** Id of the session or key of the unit. */
  readonly owner: string;
  readonly path: string;
  readonly entry: StoredEntry["kind"];
  /** Of a link 0. */
  readonly mode: number;
  /** Of a link that of its text, of a directory 0. */
  readonly size: number;
  /** Text of a link, of nothing else. */
  readonly target: string | null;
  /** Chunks that were appended since the last compaction. */
  readonly tail: number;
}

export interface FileChunksTable {
  readonly id: Generated<number>;
  readonly fileId: number;
  /** Offset in the file; the chunks of a file leave no gap. */
  readonly at: number;
  readonly sha256: Buffer;
  readonly bytes: Buffer;
}

export interface TurnsTable extends TurnRow {
  readonly seq: Generated<number>;
  /** The node that took it or began with it. */
  readonly holder: string | null;
  readonly parameters: string | null;
}

export interface LeaseHoldersTable {
  readonly id: string;
  /** Identity of its state directory, of which only one process at a time is a node. */
  readonly directory: string | null;
  readonly until: number;
}

export interface LeasesTable {
  readonly name: string;
  readonly holder: string;
  readonly token: string;
}

export interface RequestKeysTable extends RequestKeyUse {
  readonly tenant: string;
  readonly user: string;
  readonly key: string;
  readonly at: number;
}

/** The tables as migrations.ts makes them; columns are snake_case in SQL. */
export interface Tables {
  readonly sessions: SessionsTable;
  readonly sessionNames: SessionNamesTable;
  readonly invites: NewInvite;
  readonly deletedSessions: {
    readonly id: Generated<number>;
    readonly publicId: string;
    readonly tenant: string;
    readonly user: string;
  };
  readonly messageIds: KnownMessage & { readonly sessionId: string; readonly runtimeId: string };
  readonly keys: KeysTable;
  readonly browserSessions: BrowserSessionRow;
  readonly audit: AuditTable;
  readonly units: UnitsTable;
  readonly files: FilesTable;
  readonly fileChunks: FileChunksTable;
  readonly turns: TurnsTable;
  readonly requestKeys: RequestKeysTable;
  readonly tokenUse: TokenDay & { readonly tokens: number };
  readonly unitEpochs: { readonly key: string; readonly epoch: number };
  readonly leaseHolders: LeaseHoldersTable;
  readonly leases: LeasesTable;
  readonly leaseWaiters: LeasesTable & { readonly seq: Generated<number> };
}
