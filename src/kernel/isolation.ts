/** What isolation puts into one runtime: one session, one user, one tenant, or everybody. */
export type Isolation = "session" | "user" | "tenant" | "shared";

/** What one runtime is for. `key` is a stable name of it, never a path. */
export interface Unit {
  readonly isolation: Isolation;
  readonly key: string;
}
