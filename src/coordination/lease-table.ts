/** Somebody asks for a name, for as long as it is shown to live. Times are milliseconds of the wall clock. */
export interface Claim {
  readonly name: string;
  /** Names this claim, and later the lease that comes of it; nobody else knows it. */
  readonly token: string;
  readonly holder: string;
  readonly now: number;
  /** So long the holder counts as alive after this call. */
  readonly until: number;
}

export type Taken =
  | { readonly kind: "taken" }
  /** Somebody else holds it, or was there first; whoever holds it counts as alive until then. */
  | { readonly kind: "held"; readonly until: number };

/**
 * Who holds what, and who waits for it in which order. What a holder holds, and its places in lines, count while it
 * is alive; it lives by renewing. Who may write is decided by this table for convenience only: the store's epochs decide it
 * for good.
 */
export interface LeaseTable {
  /** Takes the name, or a place in its line: the same token keeps its place. First come, first served. */
  take(claim: Claim): Promise<Taken>;
  /** Shows that the holder is alive; what it still holds. */
  renew(life: Pick<Claim, "holder" | "until">): Promise<readonly Pick<Claim, "name" | "token">[]>;
  /** Gives up the lease or the place in the line that has this token; nothing happens if it has neither any more. */
  drop(claim: Pick<Claim, "name" | "token">): Promise<void>;
  /** The holder is no more, and neither is all that it had. */
  forget(holder: string): Promise<void>;
  /** Calls back when a name may have become free, as far as this process knows; the returned function ends that. */
  onFreed(listener: (name: string) => void): () => void;
}
