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
  /** Does anybody but the founder take part? */
  readonly shared: boolean;
  /** `null`: no part any more. */
  set(user: string, role: SessionRole | null): void;
  /** What has become of whose part if these are all who have one now. */
  changesTo(names: readonly SessionName[]): readonly (readonly [user: string, role: SessionRole | null])[];
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
    get shared() {
      return roles.size > 1;
    },
    set(user, role) {
      if (role === null) roles.delete(user);
      else roles.set(user, role);
    },
    changesTo(names) {
      const now = new Map(names.map(({ user, role }) => [user, role]));
      const users = new Set([...roles.keys(), ...now.keys()]);
      return [...users]
        .filter((user) => roles.get(user) !== now.get(user))
        .map((user) => [user, now.get(user) ?? null] as const);
    },
  };
};
