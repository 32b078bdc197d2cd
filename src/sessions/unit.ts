import type { Isolation, Unit } from "../kernel/isolation.ts";

/** Has the unit files of its own? In one that several users share nobody may change any. */
export const keepsFiles = ({ isolation }: Unit): boolean => isolation === "user" || isolation === "session";

/** What a node must hold to have a session in a runtime: the unit, where that has files that all its sessions see. */
export const leaseNameOf = (unit: Unit, sessionId: string): string =>
  keepsFiles(unit) ? unit.key : `shared/${sessionId}`;

const part = (text: string): string => encodeURIComponent(text);

/** The unit that a new session of this owner lives in. Parts are encoded, so no two owners share a key by choosing names. */
export const unitOf = (
  isolation: Isolation,
  owner: { readonly tenant: string; readonly user: string },
  sessionId: string,
): Unit => {
  switch (isolation) {
    case "shared":
      return { isolation, key: "shared" };
    case "tenant":
      return { isolation, key: `tenant/${part(owner.tenant)}` };
    case "user":
      return { isolation, key: `user/${part(owner.tenant)}/${part(owner.user)}` };
    case "session":
      return { isolation, key: `session/${sessionId}` };
  }
};
