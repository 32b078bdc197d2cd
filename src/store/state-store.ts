import type { Isolation } from "../kernel/isolation.ts";
import type { KnownMessage, SessionPatch } from "./session-store.ts";
import type { TurnEnd } from "./turn-store.ts";

/** Whose files: those of a session (its directory in a runtime's `session-state`), or of a unit (settings, working directory). */
export type FileScope =
  | { readonly kind: "session"; readonly id: string }
  | { readonly kind: "unit"; readonly key: string };

/** A file as the store has it. */
export interface StoredFile {
  readonly kind: "file";
  readonly path: string;
  /** Permission bits. */
  readonly mode: number;
  readonly bytes: Uint8Array;
}

/** What lies at a path. What is in a directory has entries of its own, and need not have one for the directory. */
export type StoredEntry =
  | StoredFile
  | { readonly kind: "directory"; readonly path: string; readonly mode: number }
  /** Its text, which may lead anywhere: nobody follows it here. */
  | { readonly kind: "link"; readonly path: string; readonly target: string };

/**
 * An entry comes in place of what had its path; what was below that goes by changes of its own. Paths are relative with
 * `/` between their parts, and never lead out: another one is refused with `internal`.
 */
export type FileChange =
  | StoredEntry
  | {
      readonly kind: "append";
      readonly path: string;
      /** The size of the file as stored; for any other, and for what is not there or no file, the commit is refused. */
      readonly at: number;
      readonly bytes: Uint8Array;
    }
  | { readonly kind: "remove"; readonly path: string };

/** What a session has changed since `version`, to be stored whole or not at all. */
export interface Commit {
  readonly sessionId: string;
  readonly epoch: number;
  readonly version: number;
  readonly files: readonly FileChange[];
  /** Of all the session's files after it. What is above it already may still shrink. */
  readonly maxBytes: number;
  /** Changes of the unit that the session lives in. */
  readonly unit?: Pick<UnitCommit, "key" | "epoch" | "files" | "maxBytes">;
  /** What the session is resumed with from then on. */
  readonly record?: Required<Pick<SessionPatch, "record" | "createdUpstream">> & { readonly at: number };
  /** What is known of messages in it. */
  readonly messages?: readonly (KnownMessage & { readonly runtimeId: string })[];
  /** Turns that end with it: one, and what was delivered into it. */
  readonly turns?: readonly TurnEnd[];
}

/** What was changed in a unit's files outside any of its sessions, to be stored whole or not at all. */
export interface UnitCommit {
  readonly key: string;
  /** Of the runtime that has its files; absent when none has. */
  readonly epoch?: number;
  /** Whose it is. */
  readonly tenant: string;
  readonly isolation: Isolation;
  readonly files: readonly FileChange[];
  /** As for sessions. */
  readonly maxBytes: number;
}

/** Bytes of files that a tenant has in the store. */
export interface TenantUsage {
  readonly tenant: string;
  readonly sessionBytes: number;
  readonly unitBytes: number;
}

export interface StateStore {
  /**
   * Begins a new epoch of the session: from now on only it may commit, and turns that an older one had begun are
   * `interrupted`, all but those that `keep` names, in one transaction; it is asked within that, so that none can begin
   * after it was asked and be taken for an older one. Undefined when there is no such session.
   */
  acquire(
    sessionId: string,
    at: number,
    keep?: () => readonly string[],
  ): Promise<{ epoch: number; version: number } | undefined>;
  /** The newest epoch of a session, and how many of its commits there are. */
  newest(sessionId: string): Promise<{ epoch: number; version: number } | undefined>;
  /**
   * In one transaction, which also ends the turns that have not ended already. When it rejects, nothing is stored: `fenced`
   * (epoch or version are not the newest, one of the turns has ended otherwise, or the session is deleted), `too_large` (details: `limit` and `size` in bytes,
   * `scope`), `internal` (the changes do not fit what is stored), `store_unavailable`.
   */
  commit(commit: Commit): Promise<{ version: number; sizeBytes: number }>;
  /** Begins a new epoch of the unit: what carries an older one can change its files no more. */
  acquireUnit(key: string): Promise<number>;
  /** The same for a unit alone, in one transaction: rejects with `fenced`, `too_large`, `internal` or `store_unavailable`. */
  commitUnit(commit: UnitCommit): Promise<void>;
  /** All entries, by path: a directory before what is in it. Files are verified by their checksums: `internal` when one does not match. */
  files(scope: FileScope): Promise<readonly StoredEntry[]>;
  /** One file of them, alone; undefined when there is none at this path. */
  file(scope: FileScope, path: string): Promise<StoredFile | undefined>;
  /** By tenant. */
  usage(): Promise<readonly TenantUsage[]>;
  /** Removes the files of up to `limit` units that were one session's alone (isolation `session`) and have none any more; how many. */
  removeOrphans(limit: number): Promise<number>;
}
