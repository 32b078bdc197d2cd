import { SquadronError } from "../kernel/errors.ts";
import type { Principal } from "../kernel/principal.ts";
import type { Part } from "../policy/session-rights.ts";
import type { SessionName, SessionRole, SessionRow } from "../store/store.ts";

/** Who takes part in a session as what, as its host knows it. The store says it first; the host is told at once. */
export interface SessionAccess {
  /** Undefined for who takes no part. */
  partOf(who: Pick<Principal, "tenant" | "user">): Part | undefined;
  /** The part of somebody who was found to have one a moment ago; rejects with `forbidden` if that is no more so. */
  assertPart(who: Pick<Principal, "tenant" | "user">): Part;
  /** `null`: no part any more. True if that is new. */
  set(user: string, role: SessionRole | null): boolean;
}

export const noLongerPart = (): SquadronError =>
  new SquadronError("forbidden", "You no longer take part in this session.");

export const createSessionAccess = (
  { tenant, owner }: Pick<SessionRow, "tenant" | "owner">,
  names: readonly SessionName[],
): SessionAccess => {
  const roles = new Map(names.map(({ user, role }) => [user, role]));

  const partOf: SessionAccess["partOf"] = (who) => {
    if (who.tenant !== tenant) return undefined;
    if (who.user === owner) return { role: "owner", founder: true };
    const role = roles.get(who.user);
    return role && { role, founder: false };
  };

  return {
    partOf,
    assertPart(who) {
      const part = partOf(who);
      if (part === undefined) throw noLongerPart();
      return part;
    },
    set(user, role) {
      if (user === owner || (roles.get(user) ?? null) === role) return false;
      if (role === null) roles.delete(user);
      else roles.set(user, role);
      return true;
    },
  };
};
