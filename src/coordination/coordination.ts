import { createHoldings, type Holdings } from "./holdings.ts";
import { createLeases, type LeaseOptions, type Leases } from "./leases.ts";

/** What the nodes that share a store agree upon among themselves. */
export interface Coordination {
  readonly leases: Leases;
  /** The same, shared by all of this node who need a name at once. */
  readonly holdings: Holdings;
  /** Gives up whatever this node still holds. */
  close(): Promise<void>;
}

/** Leases over a table that the nodes share. */
export const createCoordination = (options: LeaseOptions): Coordination => {
  const leases = createLeases(options);
  return { leases, holdings: createHoldings(leases), close: () => leases.close() };
};
