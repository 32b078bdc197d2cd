import { describe, expect, it } from "vitest";
import type { RequestKey } from "../../src/store/store.ts";
import { type Here, held, session, turn } from "./rows.ts";

const keyOf = (over: Partial<RequestKey> = {}): RequestKey => ({
  tenant: "acme",
  user: "alice",
  key: "k",
  hash: "h",
  at: 5_000,
  notBefore: 1_000,
  ...over,
});

/** What `RequestKeyStore` must do, and inserts with a key. */
export const requestKeysContract = (here: Here): void => {
  describe("keys of requests", () => {
    it("let one of two turns be, and say which", async () => {
      const { store, open } = here();
      const { row } = await held(store);
      const other = await open();
      const turns = [turn(row.id, { key: keyOf() }), turn(row.id, { key: keyOf() })] as const;
      const done = await Promise.all([store.turns.insert(turns[0]), other.turns.insert(turns[1])]);
      expect(done.toSorted()).toEqual([false, true]);
      const winner = turns[done.indexOf(true)];
      expect(await store.requestKeys.find(keyOf())).toEqual({
        hash: "h",
        sessionId: row.id,
        turnId: winner?.id,
      });
      expect(await store.turns.list(row.id, { limit: 9 })).toHaveLength(1);
    });

    it("are each user's own", async () => {
      const { store } = here();
      const { row } = await held(store);
      for (const key of [keyOf(), keyOf({ user: "bob" }), keyOf({ tenant: "globex" })])
        expect(await store.turns.insert(turn(row.id, { key }))).toBe(true);
      expect(await store.requestKeys.find(keyOf({ user: "carol" }))).toBeUndefined();
    });

    it("can be used again when their turn was refused, or when they are forgotten", async () => {
      const { store } = here();
      const { row } = await held(store);
      const refused = turn(row.id, { key: keyOf(), state: "accepted" });
      await store.turns.insert(refused);
      const ended = { endedAt: 6_000, reason: "no", runtimeMessageId: null, inputTokens: 0, outputTokens: 0 };
      await store.turns.end({ ...ended, id: refused.id, state: "refused", content: null, joined: null });
      expect(await store.requestKeys.find(keyOf())).toBeUndefined();
      const left = turn(row.id, { key: keyOf(), state: "accepted" });
      expect(await store.turns.insert(left)).toBe(true);
      await store.turns.settleAll(7_000);
      const third = turn(row.id, { key: keyOf() });
      expect(await store.turns.insert(third)).toBe(true);
      await store.turns.end({ ...ended, id: third.id, state: "failed", content: null, joined: null });
      expect((await store.requestKeys.find(keyOf()))?.turnId).toBe(third.id);
      const later = keyOf({ at: 9_000, notBefore: 5_001 });
      expect(await store.requestKeys.find(later)).toBeUndefined();
      const fourth = turn(row.id, { key: later });
      expect(await store.turns.insert(fourth)).toBe(true);
      expect((await store.requestKeys.find(later))?.turnId).toBe(fourth.id);
      expect(await store.requestKeys.removeBefore(9_000, 9)).toBe(0);
      expect(await store.requestKeys.removeBefore(9_001, 9)).toBe(1);
    });

    it("keep their turns among the newest, and go with their session", async () => {
      const { store } = here();
      const { row } = await held(store);
      const kept = turn(row.id, { key: keyOf() });
      await store.turns.insert(kept);
      const ended = { endedAt: 6_000, reason: null, runtimeMessageId: null, inputTokens: 0, outputTokens: 0 };
      const end = (id: string) =>
        store.turns.end({ ...ended, id, state: "completed", content: "yes", joined: null });
      await end(kept.id);
      for (let at = 0; at < 1_001; at++) {
        const one = turn(row.id);
        await store.turns.insert(one);
        await end(one.id);
      }
      expect((await store.turns.byId(row.id, kept.id))?.content).toBe("yes");
      await store.sessions.delete(row.id);
      expect(await store.requestKeys.find(keyOf())).toBeUndefined();
    });

    it("let one of two sessions be", async () => {
      const { store } = here();
      const [one, two] = [session(), session()];
      expect(await store.sessions.create(one, "one", keyOf())).toBe("created");
      expect(await store.sessions.create(two, "two", keyOf())).toBe("key_used");
      expect(await store.sessions.byId(two.id)).toBeUndefined();
      expect(await store.sessions.byName("acme", "alice", "two")).toBeUndefined();
      expect(await store.requestKeys.find(keyOf())).toEqual({ hash: "h", sessionId: one.id, turnId: null });
      expect(await store.sessions.create(two, "two", keyOf({ key: "other" }))).toBe("created");
    });
  });
};
