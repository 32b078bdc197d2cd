import { describe, expect, it } from "vitest";
import type { Here } from "./rows.ts";

/** What `TokenStore` must do. */
export const tokensContract = (here: Here): void => {
  describe("tokens", () => {
    const alice = { day: 20_000, tenant: "acme", user: "alice" };
    const bob = { ...alice, user: "bob" };

    it("are added up by day, tenant and user, for every node on the store", async () => {
      const { store, open } = here();
      expect(await store.tokens.of(alice)).toEqual({ tenant: 0, user: 0 });
      expect(await store.tokens.add(alice, 5)).toEqual({ tenant: 5, user: 5 });
      const other = await open();
      expect(await other.tokens.add(alice, 7)).toEqual({ tenant: 12, user: 12 });
      expect(await store.tokens.add(bob, 100)).toEqual({ tenant: 112, user: 100 });
      await other.tokens.add({ ...alice, tenant: "globex" }, 1_000);
      await other.tokens.add({ ...alice, day: alice.day + 1 }, 1_000_000_000_000);
      expect(await store.tokens.of(alice)).toEqual({ tenant: 112, user: 12 });
      expect(await store.tokens.of({ ...alice, day: alice.day + 1 })).toEqual({
        tenant: 1_000_000_000_000,
        user: 1_000_000_000_000,
      });
    });

    it("are all counted, however many are added at once", async () => {
      const { store, open } = here();
      const stores = [store, await open()];
      await Promise.all(Array.from({ length: 40 }, (_, one) => stores[one % 2]?.tokens.add(alice, 1)));
      expect(await store.tokens.of(alice)).toEqual({ tenant: 40, user: 40 });
    });

    it("are forgotten two days later", async () => {
      const { store } = here();
      await store.tokens.add(alice, 5);
      await store.tokens.add({ ...bob, day: alice.day + 1 }, 5);
      expect((await store.tokens.of(alice)).user).toBe(5);
      await store.tokens.add({ ...bob, day: alice.day + 2 }, 5);
      expect(await store.tokens.of(alice)).toEqual({ tenant: 0, user: 0 });
      expect((await store.tokens.of({ ...bob, day: alice.day + 1 })).user).toBe(5);
    });
  });
};
