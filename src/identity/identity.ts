import { timingSafeEqual } from "node:crypto";
import type { StaticKey } from "../config/config.ts";
import { type Clock, systemClock } from "../kernel/clock.ts";
import { SquadronError } from "../kernel/errors.ts";
import type { Principal } from "../kernel/principal.ts";
import type { Secret } from "../kernel/secret.ts";
import type { KeyRow, Store } from "../store/store.ts";
import { createKey, hashOf } from "./keys.ts";
import { createOneTimeTokens } from "./one-time-tokens.ts";

/** Longer tokens are refused unread. */
const maxTokenLength = 4_096;
/** `lastUsedAt` is as exact as this, so that not every request writes. */
const usedEveryMs = 60_000;

export interface Authenticated {
  readonly principal: Principal;
  /** The user's own GitHub token, when the key brings one. */
  readonly githubToken?: Secret;
  /** Names the key without giving it away. */
  readonly keyId: string;
}

export interface Identity {
  /**
   * Who this token is. Every refusal is the same `unauthenticated`, whatever its cause; `store_unavailable` when stored keys
   * cannot be read.
   */
  authenticate(token: string | undefined): Promise<Authenticated>;
  /** A token for a client within this process, good for one `authenticate`, soon. Throws `rate_limited` when too many are unused. */
  oneTimeToken(principal: Principal): Secret;
}

/** Recognises the keys of the configuration and those of the store. A revoked key is refused from that moment on. */
export const createIdentity = (options: {
  readonly keys: readonly StaticKey[];
  readonly store: Pick<Store, "keys">;
  readonly clock: Clock;
}): Identity => {
  const { store, clock } = options;
  const oneTimeTokens = createOneTimeTokens(clock);
  const staticKeys = options.keys.map(({ key, tenant, user, roles, githubToken }, at) => ({
    hash: hashOf(key.reveal()),
    authenticated: {
      principal: { tenant, user, roles },
      ...(githubToken === undefined ? {} : { githubToken }),
      keyId: `static-${at}`,
    } satisfies Authenticated,
  }));

  /** Looks at every key, so that the time it takes tells nothing. */
  const staticKey = (hash: Buffer): Authenticated | undefined => {
    let found: Authenticated | undefined;
    for (const key of staticKeys) if (timingSafeEqual(key.hash, hash)) found = key.authenticated;
    return found;
  };

  const storedKey = async (hash: Buffer): Promise<Authenticated | undefined> => {
    const row = await store.keys.byHash(hash.toString("hex"));
    if (row === undefined || row.revokedAt !== null) return undefined;
    await markUsed(row);
    return { principal: { tenant: row.tenant, user: row.user, roles: row.roles }, keyId: row.id };
  };

  const markUsed = async ({ id, lastUsedAt }: KeyRow): Promise<void> => {
    const now = clock.now();
    if (lastUsedAt === null || now - lastUsedAt >= usedEveryMs) await store.keys.used(id, now);
  };

  return {
    oneTimeToken: oneTimeTokens.issue,
    async authenticate(token) {
      if (token !== undefined && token !== "" && token.length <= maxTokenLength) {
        const principal = oneTimeTokens.redeem(token);
        if (principal !== undefined) return { principal, keyId: "embedded" };
        const hash = hashOf(token);
        const found = staticKey(hash) ?? (await storedKey(hash));
        if (found !== undefined) return found;
      }
      throw new SquadronError("unauthenticated", "A valid key is needed.");
    },
  };
};

/**
 * The first admin's key of a node whose configuration has no key, to be shown once; `undefined` when the store has one
 * that is not revoked. It is for user `admin` of tenant `default`, with every role.
 */
export const ensureFirstAdminKey = async (
  store: Pick<Store, "keys">,
  clock: Clock = systemClock,
): Promise<Secret | undefined> => {
  if (await store.keys.any()) return undefined;
  const roles = ["user", "tenant-admin", "admin"] as const;
  const { key } = await createKey(
    store,
    { tenant: "default", user: "admin", roles, label: "first admin key" },
    clock,
  );
  return key;
};
