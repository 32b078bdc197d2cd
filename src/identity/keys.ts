import { createHash, randomBytes } from "node:crypto";
import { isPrincipalName, principalNameForm } from "../config/principal-name.ts";
import { type Clock, systemClock } from "../kernel/clock.ts";
import { SquadronError } from "../kernel/errors.ts";
import { newId } from "../kernel/ids.ts";
import type { Role } from "../kernel/principal.ts";
import { Secret } from "../kernel/secret.ts";
import type { KeyRow, Store } from "../store/store.ts";

const prefix = "sqd_";

/** Longest label of a key, in characters. */
const maxLabel = 200;

/** What is kept of a key. A plain hash will do: a key has 256 random bits, nobody guesses one from its hash. */
export const hashOf = (key: string): Buffer => createHash("sha256").update(key).digest();

export interface NewKey {
  readonly tenant: string;
  readonly user: string;
  readonly roles: readonly Role[];
  readonly label: string;
}

/**
 * Makes a key and stores its hash. The key is returned this once and is nowhere else.
 * Rejects with `invalid_request` for a name that no principal may have, no role, or a label over 200 characters.
 */
export const createKey = async (
  store: Pick<Store, "keys">,
  { tenant, user, roles, label }: NewKey,
  clock: Clock = systemClock,
): Promise<{ readonly key: Secret; readonly row: KeyRow }> => {
  for (const [field, name] of Object.entries({ tenant, user })) {
    if (!isPrincipalName(name)) throw invalid(field, `A ${field}'s name must have ${principalNameForm}.`);
  }
  if (roles.length === 0) throw invalid("roles", "A key needs at least one role.");
  if (label.length > maxLabel) throw invalid("label", `A label has at most ${maxLabel} characters.`);
  const key = `${prefix}${randomBytes(32).toString("base64url")}`;
  const row: KeyRow = {
    id: newId("key"),
    hash: hashOf(key).toString("hex"),
    tenant,
    user,
    roles: [...new Set(roles)],
    label,
    createdAt: clock.now(),
    lastUsedAt: null,
    revokedAt: null,
  };
  await store.keys.insert(row);
  return { key: new Secret(key), row };
};

const invalid = (parameter: string, message: string): SquadronError =>
  new SquadronError("invalid_request", message, { details: { parameter } });
