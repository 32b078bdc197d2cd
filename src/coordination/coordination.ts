import type { Clock } from "../kernel/clock.ts";
import type { LeaseTable } from "./lease-table.ts";
import { createLeases, type Leases } from "./leases.ts";

/** What the nodes that share a store agree upon among themselves. */
export interface Coordination {
  readonly leases: Leases;
  /** Gives up whatever this node still holds. */
  close(): Promise<void>;
}

export interface CoordinationOptions {
  readonly table: LeaseTable;
  /** Names this process among all that share the table. */
  readonly holder: string;
  /** A node that has not renewed for so long may lose what it holds. */
  readonly ttlMs: number;
  readonly clock: Clock;
  /** A lease was lost. */
  readonly onLost: (name: string) => void;
  /** The table cannot be reached just now. */
  readonly onFailure: (error: unknown) => void;
}

/** Leases over a table that the nodes share. */
export const createCoordination = (options: CoordinationOptions): Coordination => {
  const leases = createLeases(options);
  return { leases, close: () => leases.close() };
};
