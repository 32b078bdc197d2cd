import { describe, expect, it } from "vitest";
import type { BrowserSessionRow } from "../../src/store/store.ts";
import type { Here } from "./rows.ts";

const row = (over: Partial<BrowserSessionRow>): BrowserSessionRow => ({
  hash: "h",
  keyId: "key_1",
  keyProof: "proof",
  tenant: "acme",
  user: "alice",
  createdAt: 1_000,
  expiresAt: 2_000,
  ...over,
});

/** What `BrowserSessionStore` must do. */
export const browserSessionsContract = (here: Here): void => {
  describe("browser sessions", () => {
    it("are there for every node on the store until they are removed", async () => {
      const { store, open } = here();
      await store.browserSessions.insert(row({}), 20);
      const other = await open();
      expect(await other.browserSessions.byHash("h")).toEqual(row({}));
      expect(await other.browserSessions.byHash("H")).toBeUndefined();
      expect(await other.browserSessions.remove("h")).toBe(true);
      expect(await store.browserSessions.remove("h")).toBe(false);
      expect(await store.browserSessions.byHash("h")).toBeUndefined();
    });

    it("of one user are bounded: the oldest go, nobody else's", async () => {
      const { store } = here();
      await store.browserSessions.insert(row({ hash: "bob", user: "bob", createdAt: 1 }), 3);
      await store.browserSessions.insert(row({ hash: "other", tenant: "globex", createdAt: 1 }), 3);
      const removed: string[] = [];
      for (let at = 1; at <= 5; at++)
        removed.push(...(await store.browserSessions.insert(row({ hash: `${at}`, createdAt: at }), 3)));
      expect(removed).toEqual(["1", "2"]);
      const found = async (hash: string) => (await store.browserSessions.byHash(hash)) !== undefined;
      const all = ["1", "2", "3", "4", "5", "bob", "other"];
      expect(await Promise.all(all.map(found))).toEqual([false, false, true, true, true, true, true]);
    });

    it("are removed when they have expired, so many at a time", async () => {
      const { store } = here();
      for (let at = 1; at <= 5; at++)
        await store.browserSessions.insert(row({ hash: `${at}`, expiresAt: at }), 20);
      expect(await store.browserSessions.removeExpired(4, 3)).toBe(3);
      expect(await store.browserSessions.byHash("3")).toBeUndefined();
      expect(await store.browserSessions.byHash("4")).toBeDefined();
      expect(await store.browserSessions.removeExpired(4, 3)).toBe(1);
      expect(await store.browserSessions.byHash("5")).toBeDefined();
    });
  });
};
