import { timingSafeEqual } from "node:crypto";
import type { StaticKey } from "../config/config.ts";
import { type Clock, systemClock } from "../kernel/clock.ts";
import { SquadronError } from "../kernel/errors.ts";
import type { Principal } from "../kernel/principal.ts";
import type { Secret } from "../kernel/secret.ts";
import type { KeyRow, Store } from "../store/store.ts";
import type { Authenticated } from "./authenticated.ts";
import { createBrowserSessions } from "./browser-sessions.ts";
import { createKey, hashOf } from "./keys.ts";
import { createOneTimeTokens } from "./one-time-tokens.ts";
import { createStreamTickets, type OpenTicket } from "./stream-tickets.ts";

/** Longer tokens are refused unread. */
const maxTokenLength = 4_096;
/** `lastUsedAt` is as exact as this, so that not every request writes. */
const usedEveryMs = 60_000;

export interface Identity {
  /**
   * Who this token is. Every refusal is the same `unauthenticated`, whatever its cause; `store_unavailable` when stored keys
   * cannot be read.
   */
  authenticate(token: string | undefined): Promise<Authenticated>;
  /** A browser signs in with this key: the token for its cookie. Rejects with `unauthenticated`, `store_unavailable`. */
  signIn(key: string): Promise<{ readonly token: Secret; readonly caller: Authenticated }>;
  /** Who has signed in with this token, as `authenticate`. */
  authenticateBrowser(token: string): Promise<Authenticated>;
  /** Ends the browser session of this token, if it is one. */
  signOut(token: string): Promise<void>;
  /** Calls back when the browser session of the caller ends, if it has one; the returned function ends that. */
  whenSignedOut(caller: Authenticated, onEnd: () => void): () => void;
  /** A token for a client within this process, good for one `authenticate`, soon. Throws `rate_limited` when too many are unused. */
  oneTimeToken(principal: Principal): Secret;
  /** A ticket for the event stream of this session, see `StreamTickets`. Throws `rate_limited` when too many are out. */
  streamTicket(caller: Authenticated, session: string): Secret;
  /**
   * Whose ticket for this session's stream it is. Rejects with `unauthenticated` when it is none, is not good any more, the
   * key with which it was got has been revoked, or the browser is signed out; with `store_unavailable` as above.
   */
  openStream(ticket: string, session: string, onReplaced: () => void): Promise<OpenTicket>;
}

/** Recognises the keys of the configuration and those of the store. A revoked key is refused from that moment on. */
export const createIdentity = (options: {
  readonly keys: readonly StaticKey[];
  readonly store: Pick<Store, "keys" | "browserSessions">;
  readonly clock: Clock;
}): Identity => {
  const { store, clock } = options;
  const oneTimeTokens = createOneTimeTokens(clock);
  const streamTickets = createStreamTickets(clock);
  const browserSessions = createBrowserSessions({ store, clock });
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

  const storedKey = async (hash: Buffer): Promise<Authenticated | undefined> =>
    holder(await store.keys.byHash(hash.toString("hex")));

  const holder = async (row: KeyRow | undefined): Promise<Authenticated | undefined> => {
    if (row === undefined || row.revokedAt !== null) return undefined;
    await markUsed(row);
    return { principal: { tenant: row.tenant, user: row.user, roles: row.roles }, keyId: row.id };
  };

  const markUsed = async ({ id, lastUsedAt }: KeyRow): Promise<void> => {
    const now = clock.now();
    if (lastUsedAt === null || now - lastUsedAt >= usedEveryMs) await store.keys.used(id, now);
  };

  const isRevoked = async (keyId: string): Promise<boolean> =>
    ((await store.keys.byId(keyId))?.revokedAt ?? null) !== null;

  const byKey = async (key: string): Promise<Authenticated | undefined> => {
    if (key === "" || key.length > maxTokenLength) return undefined;
    const hash = hashOf(key);
    return staticKey(hash) ?? (await storedKey(hash));
  };

  const unrecognised = (): SquadronError => new SquadronError("unauthenticated", "A valid key is needed.");

  return {
    async signIn(key) {
      const caller = await byKey(key);
      if (caller === undefined) throw unrecognised();
      const token = await browserSessions.open({ id: caller.keyId, hash: hashOf(key) }, caller.principal);
      return { token, caller };
    },
    async authenticateBrowser(token) {
      const session = token.length <= maxTokenLength ? await browserSessions.find(token) : undefined;
      if (session === undefined) throw unrecognised();
      const { hash, expiresAt } = session;
      let found = staticKeys.find((key) => session.isOf(key.hash))?.authenticated;
      if (found === undefined) {
        const row = await store.keys.byId(session.keyId);
        if (row !== undefined && session.isOf(Buffer.from(row.hash, "hex"))) found = await holder(row);
      }
      if (found !== undefined) return { ...found, browserSession: { hash, expiresAt } };
      // Its key is no more: neither is it, even if the key comes back.
      await browserSessions.end(hash);
      throw unrecognised();
    },
    signOut: (token) => browserSessions.end(hashOf(token).toString("hex")),
    whenSignedOut: ({ browserSession }, onEnd) =>
      browserSession === undefined ? () => undefined : browserSessions.follow(browserSession, onEnd),
    oneTimeToken: oneTimeTokens.issue,
    streamTicket: streamTickets.issue,
    async openStream(ticket, session, onReplaced) {
      const opened =
        ticket.length <= maxTokenLength ? streamTickets.open(ticket, session, onReplaced) : undefined;
      if (opened === undefined)
        throw new SquadronError(
          "unauthenticated",
          "The ticket is not good for this stream any more; get a new one.",
        );
      const { keyId, browserSession } = opened.caller;
      try {
        if (await isRevoked(keyId))
          throw new SquadronError(
            "unauthenticated",
            "The key with which this ticket was got has been revoked.",
          );
        if (browserSession !== undefined && (await browserSessions.isOver(browserSession)))
          throw new SquadronError("unauthenticated", "The browser is not signed in any more.");
        return opened;
      } catch (error) {
        opened.close();
        throw error;
      }
    },
    async authenticate(token) {
      if (token !== undefined && token !== "" && token.length <= maxTokenLength) {
        const principal = oneTimeTokens.redeem(token);
        if (principal !== undefined) return { principal, keyId: "embedded" };
        const found = await byKey(token);
        if (found !== undefined) return found;
      }
      throw unrecognised();
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
