import { describe, expect, it } from "vitest";
import type { ExpiryQuery, Store } from "../../src/store/store.ts";
import { type Here, held, replace, session } from "./rows.ts";

const inUnit = (key: string, text: string) => ({ key, maxBytes: 1_000, files: [replace("home/x", text)] });

const filesOf = async (store: Store, key: string) => (await store.state.files({ kind: "unit", key })).length;

/** What the store must know for quotas and the janitor, and what goes when sessions go. */
export const sessionLifeContract = (here: Here): void => {
  describe("the life of sessions", () => {
    it("finds those that have lain unused for longer than they, their tenant or the default allows", async () => {
      const { store } = here();
      const now = 1_000_000;
      const make = (name: string, over: Parameters<typeof session>[0]) =>
        store.sessions.create(session({ tenant: "plain", ...over }), name);
      await make("old", { lastUsedAt: now - 101 });
      await make("just now", { lastUsedAt: now - 100 });
      await make("older", { lastUsedAt: now - 500 });
      await make("one-shot", { lastUsedAt: 0, ephemeral: true });
      await make("kept longer", { lastUsedAt: now - 5_000, ttlMs: 10_000 });
      await make("short", { lastUsedAt: now - 11, ttlMs: 10 });
      await make("in a short tenant", { lastUsedAt: now - 51, tenant: "short" });
      await make("fresh in a short tenant", { lastUsedAt: now - 50, tenant: "short" });
      await make("own in a short tenant", { lastUsedAt: now - 99, tenant: "short", ttlMs: 99 });
      await make("in a long tenant", { lastUsedAt: now - 5_000, tenant: 'l."o$[n]g' });
      await make("too old in a long tenant", { lastUsedAt: now - 9_001, tenant: 'l."o$[n]g' });
      await make("proto", { lastUsedAt: now - 99, tenant: "__proto__" });

      const names = async (over: Partial<ExpiryQuery> = {}) => {
        const tenantTtlMs = { short: 50, 'l."o$[n]g': 9_000 };
        const found = await store.sessions.expired({
          now,
          defaultTtlMs: 100,
          tenantTtlMs,
          limit: 99,
          ...over,
        });
        return found.map(({ name }) => name);
      };
      expect(await names()).toEqual([
        "too old in a long tenant",
        "older",
        "old",
        "in a short tenant",
        "short",
      ]);
      expect(await names({ limit: 2 })).toEqual(["too old in a long tenant", "older"]);
      expect(await names({ tenant: "short" })).toEqual(["in a short tenant"]);
      expect(await names({ tenant: "nobody" })).toEqual([]);
      expect(await names({ now: 0 })).toEqual([]);
      expect(await names({ defaultTtlMs: 1_000, tenantTtlMs: {} })).toEqual([
        "too old in a long tenant",
        "in a long tenant",
        "short",
      ]);
    });

    it("knows a session's own time to live, and changes it", async () => {
      const { store } = here();
      const row = session({ ttlMs: 7 });
      await store.sessions.create(row, "a");
      expect((await store.sessions.byId(row.id))?.ttlMs).toBe(7);
      await store.sessions.update(row.id, { ttlMs: null });
      expect(await store.sessions.byId(row.id)).toMatchObject({ ttlMs: null });
    });

    it("counts a tenant's and a user's sessions, without ephemeral ones", async () => {
      const { store } = here();
      await store.sessions.create(session(), "a");
      await store.sessions.create(session({ ephemeral: true }), "b");
      await store.sessions.create(session({ owner: "bob" }), "c");
      await store.sessions.create(session({ tenant: "other" }), "d");
      expect(await store.sessions.countOf("acme")).toBe(2);
      expect(await store.sessions.countOf("acme", "alice")).toBe(1);
      expect(await store.sessions.countOf("acme", "nobody")).toBe(0);
    });

    it("adds up the bytes of sessions and units by tenant, whatever comes and goes", async () => {
      const { store } = here();
      const one = await held(store);
      const two = await held(store, { tenant: "other", unit: "session/2", isolation: "session" });
      await one.commit({ files: [replace("log", "12345")], unit: inUnit(one.row.unit, "123") });
      await one.commit({ unit: inUnit(one.row.unit, "1234567") });
      await two.commit({ files: [replace("log", "1")], unit: inUnit("session/2", "12") });
      expect(await store.state.usage()).toEqual([
        { tenant: "acme", sessionBytes: 5, unitBytes: 7 },
        { tenant: "other", sessionBytes: 1, unitBytes: 2 },
      ]);
      await store.sessions.delete(two.row.id);
      await store.sessions.delete(one.row.id);
      expect(await store.state.usage()).toEqual([{ tenant: "acme", sessionBytes: 0, unitBytes: 7 }]);
    });

    it("removes a session's files with it, and never begins with those of another", async () => {
      const { store } = here();
      const one = await held(store);
      await one.commit({ files: [replace("log", "12345")] });
      await store.sessions.delete(one.row.id);
      expect(await one.texts()).toEqual({});
      const again = await held(store, { id: one.row.id });
      expect([again.epoch, again.version]).toEqual([1, 0]);
      await again.commit({ files: [replace("log", "12345")] });
      // A row that is made from another one's brings no files with it.
      const fork = session({ id: "fork", sizeBytes: 5 });
      await store.sessions.create(fork, "fork");
      expect((await store.sessions.byId("fork"))?.sizeBytes).toBe(0);
    });

    it("removes a unit's files with its last session if it was that session's alone, and keeps a user's", async () => {
      const { store } = here();
      const own = await held(store, { unit: "session/1", isolation: "session" });
      const fork = await held(store, { unit: "session/1", isolation: "session" });
      const users = await held(store);
      await own.commit({ unit: inUnit("session/1", "x") });
      await users.commit({ unit: inUnit(users.row.unit, "x") });
      await store.sessions.delete(own.row.id);
      expect(await filesOf(store, "session/1")).toBe(1);
      await store.sessions.delete(fork.row.id);
      expect(await filesOf(store, "session/1")).toBe(0);
      await store.sessions.delete(users.row.id);
      expect(await filesOf(store, users.row.unit)).toBe(1);
    });

    it("removes units that no session has any more, some at a time", async () => {
      const { store } = here();
      for (const number of [1, 2, 3]) {
        const one = await held(store, { unit: `session/${number}`, isolation: "session" });
        await one.commit({ unit: inUnit(`session/${number}`, "x") });
        await store.sessions.update(one.row.id, { unit: one.row.owner, isolation: "user" });
      }
      const users = await held(store);
      await users.commit({ unit: inUnit(users.row.unit, "x") });
      await store.sessions.delete(users.row.id);
      const kept = await held(store, { unit: "session/4", isolation: "session" });
      await kept.commit({ unit: inUnit("session/4", "x") });
      expect(await store.state.removeOrphans(2)).toBe(2);
      expect(await store.state.removeOrphans(2)).toBe(1);
      expect(await store.state.removeOrphans(2)).toBe(0);
      expect(await Promise.all([1, 2, 3, 4].map((number) => filesOf(store, `session/${number}`)))).toEqual([
        0, 0, 0, 1,
      ]);
      expect(await filesOf(store, users.row.unit)).toBe(1);
    });
  });
};
