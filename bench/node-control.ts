import type { Policy, RuntimesConfig } from "../src/config/config.ts";
import type { Isolation } from "../src/kernel/isolation.ts";

/** What a benchmark's node is made with; handed to its process as JSON. */
export interface NodeSettings {
  readonly directory: string;
  readonly modelUrl: string;
  readonly isolation: Isolation;
  readonly runtimes?: Partial<RuntimesConfig>;
  /** Unused sessions of the users fall asleep after this; those of the keeper never do. */
  readonly hibernateAfterMs?: Policy["sessions"]["hibernateAfterMs"];
  readonly leaseTtlMs?: number;
  /** The directory of another node whose store this one shares. */
  readonly storeOf?: string;
  /** Users of the tenant `bench`, named and keyed by `userKey`. */
  readonly users: number;
}

export const tenant = "bench";
export const userName = (index: number): string => `user-${index}`;
export const userKey = (index: number): string => `bench-key-${index}`;
/** A user of another tenant, whose session keeps a shared runtime in use. */
export const keeper = { tenant: "keepers", user: "keeper", key: "bench-key-keeper" };

/** What the store has been asked to do since the node started. */
export interface StoreWork {
  readonly statements: number;
  /** Transactions, and writes outside any, that waited for the disk. */
  readonly synced: number;
  /** Bytes of files in commits. */
  readonly bytes: number;
  /** From the call of a commit or of the beginning of a turn to its end, in milliseconds. */
  readonly ms: number;
}

export interface NodeFigures {
  readonly store: StoreWork;
  /** Sessions in a runtime's memory. */
  readonly live: number;
  readonly runtimes: readonly {
    readonly pid: number;
    readonly user: string | undefined;
    readonly spare: boolean;
  }[];
}

export type NodeCommand =
  | { readonly kind: "figures" }
  /** Kills every runtime that has a unit. */
  | { readonly kind: "release" }
  /** Makes the row of a session of user 0 of which nothing will be stored. */
  | { readonly kind: "make-unkept"; readonly name: string };

export type NodeAnswer = { readonly id: number } & (
  | { readonly figures: NodeFigures }
  | { readonly error: string }
);

export interface NodeUp {
  readonly port: number;
  readonly httpPort: number;
}
