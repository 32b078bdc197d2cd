import { createHmac, randomBytes } from "node:crypto";
import { LRUCache } from "lru-cache";
import type { Clock } from "../kernel/clock.ts";
import { Secret } from "../kernel/secret.ts";
import type { BrowserSessionRow, Store } from "../store/store.ts";
import { hashOf } from "./keys.ts";

const prefix = "sqd_web_";
/** How long a browser stays signed in, in milliseconds from its sign-in. */
export const browserSessionMs = 14 * 86_400_000;
const mostOfOneUser = 20;
/** Ends to remember: one needs to be known only as long as a request takes from its recognition on. */
const remembered = 1_000;

const hashText = (token: string): string => hashOf(token).toString("hex");

/** A key's hash cannot be told from it without the token, which is in the browser alone. */
const proofOf = (token: string, keyHash: Buffer): string =>
  createHmac("sha256", token).update(keyHash).digest("hex");

/** What the token of a browser's cookie stands for. */
export interface BrowserSession {
  readonly keyId: string;
  /** Names it without giving it away. */
  readonly hash: string;
  readonly expiresAt: number;
  /** Was it opened with the key of this hash? */
  isOf(keyHash: Buffer): boolean;
}

/**
 * Browsers that have signed in with a key. Each has a random token in a cookie, of which the store knows the hash; what the
 * token gives is what the key gives, as long as there is that key.
 */
export interface BrowserSessions {
  /** Signs in; a user's oldest ones end when there are more than 20. */
  open(
    key: { readonly id: string; readonly hash: Buffer },
    who: Pick<BrowserSessionRow, "tenant" | "user">,
  ): Promise<Secret>;
  find(token: string): Promise<BrowserSession | undefined>;
  /** Signs out: what `follow`s it is told. */
  end(hash: string): Promise<void>;
  /** Is the browser signed out by now, in whatever process, or is its time over? */
  isOver(session: Pick<BrowserSession, "hash" | "expiresAt">): Promise<boolean>;
  /**
   * Calls back when the session ends, in this process or by its time, at once if it has ended already; the returned
   * function ends that.
   */
  follow(session: Pick<BrowserSession, "hash" | "expiresAt">, onEnd: () => void): () => void;
}

export const createBrowserSessions = (options: {
  readonly store: Pick<Store, "browserSessions">;
  readonly clock: Clock;
}): BrowserSessions => {
  const { store, clock } = options;
  const followers = new Map<string, Set<() => void>>();
  const ended = new LRUCache<string, true>({ max: remembered });

  const tell = (hash: string): void => {
    for (const told of [...(followers.get(hash) ?? [])]) told();
  };

  return {
    async open(key, { tenant, user }) {
      const token = `${prefix}${randomBytes(32).toString("base64url")}`;
      const createdAt = clock.now();
      const removed = await store.browserSessions.insert(
        {
          hash: hashText(token),
          keyId: key.id,
          keyProof: proofOf(token, key.hash),
          tenant,
          user,
          createdAt,
          expiresAt: createdAt + browserSessionMs,
        },
        mostOfOneUser,
      );
      for (const hash of removed) {
        ended.set(hash, true);
        tell(hash);
      }
      return new Secret(token);
    },
    async find(token) {
      if (!token.startsWith(prefix)) return undefined;
      const row = await store.browserSessions.byHash(hashText(token));
      if (row === undefined || row.expiresAt <= clock.now()) return undefined;
      const { keyId, hash, expiresAt, keyProof } = row;
      return { keyId, hash, expiresAt, isOf: (keyHash) => proofOf(token, keyHash) === keyProof };
    },
    async end(hash) {
      if (await store.browserSessions.remove(hash)) ended.set(hash, true);
      tell(hash);
    },
    isOver: async ({ hash, expiresAt }) =>
      expiresAt <= clock.now() || (await store.browserSessions.byHash(hash)) === undefined,
    follow({ hash, expiresAt }, onEnd) {
      if (ended.has(hash)) {
        onEnd();
        return () => undefined;
      }
      const all = followers.get(hash) ?? new Set();
      followers.set(hash, all.add(onEnd));
      const cancel = clock.after(Math.max(0, expiresAt - clock.now()), onEnd);
      return () => {
        cancel();
        all.delete(onEnd);
        if (all.size === 0) followers.delete(hash);
      };
    },
  };
};
