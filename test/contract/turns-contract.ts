import { randomUUID } from "node:crypto";
import { describe, expect, it } from "vitest";
import type { TurnEnd } from "../../src/store/store.ts";
import { type Here, held, session, turn } from "./rows.ts";

const end = (id: string, over: Partial<TurnEnd> = {}): TurnEnd => ({
  id,
  state: "completed",
  endedAt: 5_000,
  reason: null,
  runtimeMessageId: "m1",
  inputTokens: 3,
  outputTokens: 4,
  content: "yes",
  joined: null,
  ...over,
});

/** What `TurnStore` must do. */
export const turnsContract = (here: Here): void => {
  describe("turns", () => {
    it("follows a turn from its acceptance to its end", async () => {
      const { store } = here();
      const { row } = await held(store);
      const accepted = turn(row.id, { state: "accepted" });
      await store.turns.insert(accepted);
      expect(await store.turns.byId(row.id, accepted.id)).toEqual(accepted);
      await store.turns.begin(accepted.id, 2_000);
      const begun = { ...accepted, state: "begun", begunAt: 2_000 };
      expect(await store.turns.byId(row.id, accepted.id)).toEqual(begun);
      await store.turns.begin(accepted.id, 3_000);
      expect(await store.turns.byId(row.id, accepted.id)).toEqual(begun);
      await store.turns.end(end(accepted.id));
      const done = { ...begun, ...end(accepted.id) };
      expect(await store.turns.byId(row.id, accepted.id)).toEqual(done);
      await store.turns.end(end(accepted.id, { state: "failed", reason: "late", endedAt: 9_000 }));
      await store.turns.begin(accepted.id, 9_000);
      expect(await store.turns.byId(row.id, accepted.id)).toEqual(done);
      expect(await store.turns.byId(row.id, "m1")).toEqual(done);
    });

    it("shows a turn in its own session only", async () => {
      const { store } = here();
      const one = await held(store);
      const other = await held(store);
      const row = turn(one.row.id);
      await store.turns.insert(row);
      expect(await store.turns.byId(other.row.id, row.id)).toBeUndefined();
      expect(await store.turns.list(other.row.id, { limit: 9 })).toEqual([]);
      expect(await store.turns.list(other.row.id, { limit: 9, before: row })).toEqual([]);
    });

    it("lists them in pages, the last accepted first, also within one millisecond", async () => {
      const { store } = here();
      const { row } = await held(store);
      // A clock that stands still, and one that goes back.
      const rows = Array.from({ length: 7 }, (_, at) => turn(row.id, { acceptedAt: at < 5 ? 1_000 : 900 }));
      for (const one of rows) await store.turns.insert(one);
      const newest = rows.toReversed();
      const first = await store.turns.list(row.id, { limit: 3 });
      expect(first).toEqual(newest.slice(0, 3));
      const last = first.at(-1);
      if (last === undefined) throw new Error("There is no last one.");
      expect(await store.turns.list(row.id, { limit: 9, before: last })).toEqual(newest.slice(3));
      expect(await store.turns.list(row.id, { limit: 9, before: { id: "forgotten" } })).toEqual([]);
    });

    it("keeps the newest 1,000 of a session", async () => {
      const { store } = here();
      const { row } = await held(store);
      const other = await held(store);
      const theirs = turn(other.row.id);
      await store.turns.insert(theirs);
      for (let at = 0; at < 1_005; at++) {
        const one = turn(row.id, { acceptedAt: at });
        await store.turns.insert(one);
        await store.turns.end(end(one.id));
      }
      const kept = await store.turns.list(row.id, { limit: 2_000 });
      expect(kept).toHaveLength(1_000);
      expect([kept[0]?.acceptedAt, kept.at(-1)?.acceptedAt]).toEqual([1_004, 5]);
      expect(await store.turns.list(other.row.id, { limit: 9 })).toEqual([theirs]);
    });

    it("interrupts what a former holder had begun, but for the one that the new holder begins with", async () => {
      const { store } = here();
      const { row } = await held(store);
      const other = await held(store);
      const [begun, kept, accepted, done] = [
        turn(row.id),
        turn(row.id),
        turn(row.id, { state: "accepted" }),
        turn(row.id),
      ];
      const theirs = turn(other.row.id);
      for (const one of [begun, kept, accepted, done, theirs]) await store.turns.insert(one);
      await store.turns.end(end(done.id));
      await store.state.acquire(row.id, 7_000, () => [kept.id]);
      expect(await store.turns.byId(row.id, begun.id)).toEqual({
        ...begun,
        state: "interrupted",
        endedAt: 7_000,
        reason: expect.stringContaining("interrupted"),
      });
      expect(await store.turns.byId(row.id, kept.id)).toEqual(kept);
      expect(await store.turns.byId(row.id, accepted.id)).toEqual(accepted);
      expect((await store.turns.byId(row.id, done.id))?.state).toBe("completed");
      expect(await store.turns.byId(other.row.id, theirs.id)).toEqual(theirs);
      await store.state.acquire(row.id, 8_000);
      expect((await store.turns.byId(row.id, kept.id))?.endedAt).toBe(8_000);
    });

    it("asks which turns are the new holder's when it takes the session, not before", async () => {
      const { store } = here();
      const { row } = await held(store);
      const own = turn(row.id);
      let mine: readonly string[] = [];
      const inserted = store.turns.insert(own);
      const taken = store.state.acquire(row.id, 7_000, () => mine);
      mine = [own.id];
      await Promise.all([inserted, taken]);
      expect((await store.turns.byId(row.id, own.id))?.state).toBe("begun");
    });

    it("settles all that an earlier node left", async () => {
      const { store } = here();
      const { row } = await held(store);
      const [begun, accepted, done] = [turn(row.id), turn(row.id, { state: "accepted" }), turn(row.id)];
      for (const one of [begun, accepted, done]) await store.turns.insert(one);
      await store.turns.end(end(done.id));
      expect(await store.turns.settleAll(7_000)).toBe(2);
      expect(await store.turns.byId(row.id, begun.id)).toMatchObject({
        state: "interrupted",
        endedAt: 7_000,
      });
      expect(await store.turns.byId(row.id, accepted.id)).toMatchObject({ state: "refused", endedAt: 7_000 });
      expect(await store.turns.byId(row.id, done.id)).toMatchObject({ state: "completed", endedAt: 5_000 });
      expect(await store.turns.settleAll(8_000)).toBe(0);
    });

    it("settles nothing of a node that lives, and what one left that lives no more can be committed by nobody", async () => {
      const { store, openAs } = here();
      const living = await openAs("living");
      const dead = await openAs("dead");
      await store.leases.enter({ holder: "living", directory: "1", until: 9_000 });
      await store.leases.enter({ holder: "dead", directory: "2", until: 6_000 });
      const [kept, left] = [await held(store), await held(store)];
      const [running, waiting] = [turn(kept.row.id), turn(kept.row.id, { state: "accepted" })];
      const [begun, accepted] = [turn(left.row.id), turn(left.row.id, { state: "accepted" })];
      for (const one of [running, waiting]) await living.turns.insert(one);
      for (const one of [begun, accepted]) await dead.turns.insert(one);
      await dead.leases.take({ name: "s", token: "t", holder: "dead", now: 5_000, until: 6_000 });
      expect(await store.turns.settleAll(5_999)).toBe(0);
      expect(await store.turns.settleAll(6_000)).toBe(2);
      expect((await store.turns.byId(kept.row.id, running.id))?.state).toBe("begun");
      expect((await store.turns.byId(kept.row.id, waiting.id))?.state).toBe("accepted");
      expect((await store.turns.byId(left.row.id, begun.id))?.state).toBe("interrupted");
      expect((await store.turns.byId(left.row.id, accepted.id))?.state).toBe("refused");
      await kept.commit({ turns: [end(running.id)] });
      // It was only asleep.
      await expect(left.commit({ turns: [end(begun.id)] })).rejects.toMatchObject({ code: "fenced" });
      expect(await store.leases.renew({ holder: "dead", until: 12_000 })).toEqual([]);
      // A new process on the same state directory: the old one has ended.
      await store.leases.enter({ holder: "next", directory: "1", until: 12_000 });
      expect(await store.turns.settleAll(6_001)).toBe(1);
      expect((await store.turns.byId(kept.row.id, waiting.id))?.state).toBe("refused");
    });

    it("leaves who has taken a session over in peace when it settles what the former holder had not begun", async () => {
      const { store, openAs } = here();
      const [living, dead] = [await openAs("living"), await openAs("dead")];
      await store.leases.enter({ holder: "living", directory: "1", until: 9_000 });
      const { row } = await held(store);
      const [begun, waiting] = [turn(row.id), turn(row.id, { state: "accepted" })];
      for (const one of [begun, waiting]) await dead.turns.insert(one);
      const taken = await living.state.acquire(row.id, 6_000);
      expect(await store.turns.settleAll(6_000)).toBe(1);
      expect((await store.turns.byId(row.id, waiting.id))?.state).toBe("refused");
      expect(await store.state.newest(row.id)).toMatchObject({ epoch: taken?.epoch });
    });

    it("keeps what a message says that must run, for whoever takes it over from a node that lives no more", async () => {
      const { store, openAs } = here();
      const [living, next] = [await openAs("living"), await openAs("next")];
      await store.leases.enter({ holder: "living", directory: "1", until: 9_000 });
      const { row } = await held(store);
      const other = await held(store);
      const promised = (over = {}) =>
        turn(row.id, { state: "accepted", parameters: '{"prompt":"hi"}', ...over });
      const [first, second, begun, dropped] = [
        promised({ acceptedAt: 3_000 }),
        promised(),
        promised(),
        promised(),
      ];
      const unpromised = turn(row.id, { state: "accepted" });
      const theirs = turn(other.row.id, { state: "accepted", parameters: "{}" });
      for (const one of [first, second, begun, dropped, unpromised, theirs]) await living.turns.insert(one);
      expect(await living.turns.begin(begun.id, 2_000)).toBe(true);
      await living.turns.end(end(dropped.id, { state: "aborted" }));
      expect(await next.turns.claim(row.id, 8_999)).toEqual([]);
      expect(await next.turns.claimable({ at: 8_999, limit: 9 })).toEqual([]);
      const sessions = [row.id, other.row.id].sort();
      expect(await next.turns.claimable({ at: 9_000, limit: 9 })).toEqual(sessions);
      expect(await next.turns.claimable({ at: 9_000, limit: 1, after: sessions[0] ?? "" })).toEqual([
        sessions[1],
      ]);
      // `begun` and `unpromised` end; what is promised does not.
      expect(await store.turns.settleAll(9_000)).toBe(2);
      await store.leases.enter({ holder: "next", directory: "2", until: 20_000 });
      expect(await next.turns.claim(row.id, 9_000)).toEqual(
        [first, second].map(({ id, sender, acceptedAt, parameters }) => ({
          id,
          sender,
          acceptedAt,
          parameters,
        })),
      );
      expect(await next.turns.claim(row.id, 9_000)).toEqual([]);
      // Its former node was only asleep: it can neither begin nor end it.
      expect(await living.turns.begin(first.id, 9_500)).toBe(false);
      await living.turns.end(end(first.id));
      expect((await store.turns.byId(row.id, first.id))?.state).toBe("accepted");
      expect(await next.turns.begin(first.id, 9_600)).toBe(true);
      await store.sessions.delete(other.row.id);
      expect(await next.turns.claimable({ at: 9_000, limit: 9 })).toEqual([]);
    });

    it("forgets them with their session, and takes none of a session that is gone", async () => {
      const { store } = here();
      const { row } = await held(store);
      const one = turn(row.id);
      await store.turns.insert(one);
      await store.sessions.delete(row.id);
      expect(await store.turns.byId(row.id, one.id)).toBeUndefined();
      for (const id of [row.id, randomUUID()])
        await expect(store.turns.insert(turn(id))).rejects.toMatchObject({ code: "session_deleted" });
      expect(await store.turns.list(row.id, { limit: 9 })).toEqual([]);
      const again = session({ id: row.id });
      await store.sessions.create(again, "again");
      expect(await store.turns.list(row.id, { limit: 9 })).toEqual([]);
    });
  });
};
