export type Role = "user" | "tenant-admin" | "admin";

/** Who acts: a user of a tenant with roles. Every connection has exactly one. */
export interface Principal {
  readonly tenant: string;
  readonly user: string;
  readonly roles: readonly Role[];
}
