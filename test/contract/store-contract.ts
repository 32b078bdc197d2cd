import { randomUUID } from "node:crypto";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { AuditEntry, KeyRow, Store } from "../../src/store/store.ts";
import type { ManualClock } from "../support/manual-clock.ts";
import { browserSessionsContract } from "./browser-sessions-contract.ts";
import { participantsContract } from "./participants-contract.ts";
import { requestKeysContract } from "./request-keys-contract.ts";
import { held, session } from "./rows.ts";
import { sessionLifeContract } from "./session-life-contract.ts";
import { stateContract } from "./state-contract.ts";
import { tokensContract } from "./tokens-contract.ts";
import { turnsContract } from "./turns-contract.ts";

/** One place where stores live: opening twice gives two connections to the same data. */
export interface StorePlace {
  readonly clock: ManualClock;
  open(holder?: string): Promise<Store>;
  remove(): Promise<void>;
}

const awkwardNames = [
  "alice-smith",
  "-",
  " ",
  "__proto__",
  "constructor",
  "👩‍🚀🛰️",
  "é",
  "e\u0301",
  "İstanbul",
  "a\0b",
  "a",
  "A",
  "'; drop table sessions; --",
  "%_*?[a-z]",
  "../../etc/passwd",
  "n".repeat(300),
];

const key = (over: Partial<KeyRow> = {}): KeyRow => ({
  id: randomUUID(),
  hash: randomUUID(),
  tenant: "acme",
  user: "alice",
  roles: ["user", "tenant-admin"],
  label: "laptop",
  createdAt: 1_000,
  lastUsedAt: null,
  revokedAt: null,
  ...over,
});

const entry = (over: Partial<AuditEntry> = {}): Omit<AuditEntry, "id"> => ({
  at: 1_000,
  tenant: "acme",
  user: "alice",
  action: "session.delete",
  target: "ses_1",
  outcome: "ok",
  detail: null,
  ...over,
});

/** What every implementation of `Store` must do. */
export const storeContract = (name: string, newPlace: () => Promise<StorePlace>): void => {
  describe(`${name} as a store`, () => {
    let place: StorePlace;
    let store: Store;
    const opened: Store[] = [];

    const open = async (holder?: string): Promise<Store> => {
      const one = await place.open(holder);
      opened.push(one);
      return one;
    };

    beforeEach(async () => {
      place = await newPlace();
      store = await open();
    });

    afterEach(async () => {
      await Promise.all(opened.splice(0).map((one) => one.close()));
      await place.remove();
    });

    const walk = async <Item>(
      page: (cursor: string | undefined) => Promise<{ sessions: readonly Item[]; next?: string }>,
    ): Promise<Item[][]> => {
      const pages: Item[][] = [];
      let cursor: string | undefined;
      do {
        const { sessions, next } = await page(cursor);
        pages.push([...sessions]);
        cursor = next;
      } while (cursor !== undefined);
      return pages;
    };

    describe("sessions", () => {
      it("gives a session back as it was stored, by name, public id and id", async () => {
        const row = session({
          title: "Trip 🛰️",
          record: '{"a":1}',
          createdUpstream: true,
          visibility: "shared",
          senderNames: true,
          inputTokens: 3,
        });
        expect(await store.sessions.create(row, "trip")).toBe("created");
        const owned = { ...row, name: "trip", role: "owner" };
        expect(await store.sessions.byName("acme", "alice", "trip")).toEqual(owned);
        expect(await store.sessions.byPublicId(row.publicId, "acme", "alice")).toEqual(owned);
        expect(await store.sessions.byId(row.id)).toEqual(row);
        expect(await store.sessions.namesOf(row.id)).toEqual([
          { tenant: "acme", user: "alice", name: "trip", role: "owner" },
        ]);
      });

      it("shows nobody else's session, whatever tenant, user or name are spelled like", async () => {
        const row = session();
        await store.sessions.create(row, "smith-trip");
        for (const [tenant, user, name] of [
          ["acme", "alice-smith", "trip"],
          ["acme", "bob", "smith-trip"],
          ["other", "alice", "smith-trip"],
          ["acme", "Alice", "smith-trip"],
          ["acme", "alice", "smith-trip "],
        ] as const) {
          expect(await store.sessions.byName(tenant, user, name)).toBeUndefined();
          if (user !== "alice" || tenant !== "acme") {
            expect(await store.sessions.byPublicId(row.publicId, tenant, user)).toBeUndefined();
            expect((await store.sessions.list(tenant, user, { limit: 10 })).sessions).toEqual([]);
          }
        }
      });

      it("keeps every name apart, for two users who use the same ones", async () => {
        const ids = new Map<string, string>();
        for (const owner of ["alice", "bob"]) {
          for (const sessionName of awkwardNames) {
            const row = session({ owner });
            expect(await store.sessions.create(row, sessionName)).toBe("created");
            ids.set(`${owner}/${sessionName}`, row.id);
          }
        }
        for (const owner of ["alice", "bob"]) {
          for (const sessionName of awkwardNames) {
            const found = await store.sessions.byName("acme", owner, sessionName);
            expect([found?.name, found?.id]).toEqual([sessionName, ids.get(`${owner}/${sessionName}`)]);
          }
        }
        expect(new Set(ids.values()).size).toBe(2 * awkwardNames.length);
      });

      it("keeps every tenant and user apart that are spelled alike", async () => {
        for (const text of awkwardNames)
          await store.sessions.create(session({ tenant: text, owner: text }), "same");
        for (const text of awkwardNames) {
          const { sessions } = await store.sessions.list(text, text, { limit: 10 });
          expect(sessions.map(({ tenant, owner }) => [tenant, owner])).toEqual([[text, text]]);
        }
      });

      it("refuses names that the database could not keep apart", async () => {
        for (const bad of ["", "\ud800", "x\udfff", "n".repeat(301)]) {
          await expect(store.sessions.create(session(), bad)).rejects.toMatchObject({
            code: "invalid_request",
          });
          await expect(store.sessions.create(session({ owner: bad }), "x")).rejects.toMatchObject({
            code: "invalid_request",
          });
          await expect(store.sessions.rename("acme", "alice", "x", bad)).rejects.toMatchObject({
            code: "invalid_request",
          });
          expect(await store.sessions.byName("acme", "alice", bad)).toBeUndefined();
        }
        await store.sessions.create(session(), "\ufffd");
        expect(await store.sessions.byName("acme", "alice", "\ud800")).toBeUndefined();
        expect((await store.sessions.listAll({ limit: 10 })).sessions).toHaveLength(1);
      });

      it("lets exactly one of many win a name, over two connections", async () => {
        const other = await open();
        const rows = Array.from({ length: 20 }, () => session());
        const results = await Promise.all(
          rows.map((row, at) => (at % 2 === 0 ? store : other).sessions.create(row, "trip")),
        );
        expect(results.filter((result) => result === "created")).toHaveLength(1);
        const winner = rows[results.indexOf("created")];
        expect((await store.sessions.byName("acme", "alice", "trip"))?.id).toBe(winner?.id);
        expect((await store.sessions.listAll({ limit: 100 })).sessions.map(({ id }) => id)).toEqual([
          winner?.id,
        ]);
      });

      it("lists a user's sessions in pages, newest use first, without gap or repeat", async () => {
        const rows = Array.from({ length: 11 }, (_, at) =>
          session({ lastUsedAt: 1_000 + Math.floor(at / 3) }),
        );
        for (const [at, row] of rows.entries()) await store.sessions.create(row, `s${at}`);
        await store.sessions.create(session({ ephemeral: true }), "gone soon");
        const pages = await walk((cursor) =>
          store.sessions.list("acme", "alice", { limit: 4, ...(cursor === undefined ? {} : { cursor }) }),
        );
        expect(pages.map((page) => page.length)).toEqual([4, 4, 3]);
        const listed = pages.flat();
        expect(new Set(listed.map(({ id }) => id)).size).toBe(11);
        expect(listed.map(({ lastUsedAt }) => lastUsedAt)).toEqual(
          listed.map(({ lastUsedAt }) => lastUsedAt).sort((a, b) => b - a),
        );
      });

      it("goes on behind the cursor when sessions come and go between pages", async () => {
        const rows = Array.from({ length: 6 }, (_, at) => session({ lastUsedAt: 1_000 - at }));
        for (const [at, row] of rows.entries()) await store.sessions.create(row, `s${at}`);
        const first = await store.sessions.list("acme", "alice", { limit: 3 });
        await store.sessions.create(session({ lastUsedAt: 5_000 }), "new");
        await store.sessions.delete(rows[2]?.id ?? "");
        const second = await store.sessions.list("acme", "alice", { limit: 3, cursor: first.next ?? "" });
        expect(second.sessions.map(({ name }) => name)).toEqual(["s3", "s4", "s5"]);
        expect(second.next).toBeUndefined();
      });

      it("refuses a cursor that it did not make", async () => {
        for (const cursor of ["", "x", Buffer.from('["1","a"]').toString("base64url")]) {
          await expect(store.sessions.list("acme", "alice", { limit: 1, cursor })).rejects.toMatchObject({
            code: "invalid_request",
          });
        }
      });

      it("lists and counts all sessions, or a tenant's, with the owner's name", async () => {
        await store.sessions.create(session({ createdAt: 1 }), "a");
        await store.sessions.create(session({ createdAt: 2, owner: "bob" }), "b");
        await store.sessions.create(session({ createdAt: 3, tenant: "other", isolation: "shared" }), "c");
        const all = await walk((cursor) =>
          store.sessions.listAll({ limit: 2, ...(cursor === undefined ? {} : { cursor }) }),
        );
        expect(all.map((page) => page.map((row) => row.name))).toEqual([["c", "b"], ["a"]]);
        expect(
          (await store.sessions.listAll({ limit: 9, tenant: "acme" })).sessions.map((row) => row.name),
        ).toEqual(["b", "a"]);
        expect(await store.sessions.counts()).toEqual([
          { tenant: "acme", isolation: "user", sessions: 2 },
          { tenant: "other", isolation: "shared", sessions: 1 },
        ]);
      });

      it("changes what a patch names and nothing else", async () => {
        const row = session();
        await store.sessions.create(row, "a");
        place.clock.advance(10);
        await store.sessions.update(row.id, { title: "Trip", createdUpstream: true });
        const changed = { ...row, title: "Trip", createdUpstream: true, updatedAt: place.clock.now() };
        expect(await store.sessions.byId(row.id)).toEqual(changed);
        await store.sessions.update(row.id, {
          title: null,
          lastUsedAt: 77,
          record: "[]",
          unit: "shared",
          isolation: "shared",
        });
        const again = { title: null, lastUsedAt: 77, record: "[]", unit: "shared", isolation: "shared" };
        expect(await store.sessions.byId(row.id)).toEqual({ ...changed, ...again });
        await store.sessions.update(randomUUID(), { title: "nobody" });
      });

      it("takes from a holder only what the newest one says", async () => {
        const { store } = here();
        const row = session();
        await store.sessions.create(row, "a");
        const first = await store.state.acquire(row.id, 1_000);
        await store.sessions.update(row.id, { record: "first" }, first?.epoch);
        const second = await store.state.acquire(row.id, 1_000);
        const late = store.sessions.update(row.id, { record: "late" }, first?.epoch);
        await expect(late).rejects.toMatchObject({ code: "fenced" });
        expect((await store.sessions.byId(row.id))?.record).toBe("first");
        await store.sessions.update(row.id, { record: "second" }, second?.epoch);
        expect((await store.sessions.byId(row.id))?.record).toBe("second");
        const nobody = store.sessions.update(randomUUID(), { record: "x" }, 1);
        await expect(nobody).rejects.toMatchObject({ code: "fenced" });
      });

      it("adds tokens up, also in parallel over two connections", async () => {
        const row = session();
        await store.sessions.create(row, "a");
        const other = await open();
        await Promise.all(
          Array.from({ length: 20 }, (_, at) =>
            (at % 2 ? store : other).sessions.used([
              { id: row.id, at: row.lastUsedAt + at, inputTokens: 3, outputTokens: 1 },
            ]),
          ),
        );
        expect(await store.sessions.byId(row.id)).toMatchObject({ inputTokens: 60, outputTokens: 20 });
      });

      it("renames, unless the new name is taken or the old one unknown", async () => {
        const row = session();
        await store.sessions.create(row, "a");
        await store.sessions.create(session(), "b");
        expect(await store.sessions.rename("acme", "alice", "a", "b")).toBe("name_taken");
        expect(await store.sessions.rename("acme", "alice", "x", "y")).toBe("not_found");
        expect(await store.sessions.rename("acme", "bob", "a", "y")).toBe("not_found");
        expect(await store.sessions.rename("acme", "alice", "a", "a")).toBe("renamed");
        expect(await store.sessions.rename("acme", "alice", "a", "c")).toBe("renamed");
        expect(await store.sessions.byName("acme", "alice", "a")).toBeUndefined();
        expect((await store.sessions.byName("acme", "alice", "c"))?.id).toBe(row.id);
      });

      it("forgets a deleted session but for who had it", async () => {
        const row = session();
        await store.sessions.create(row, "a");
        const { epoch, version } = (await store.state.acquire(row.id, 1_000)) ?? {};
        expect(epoch).toBeDefined();
        await store.state.commit({
          sessionId: row.id,
          epoch: epoch ?? 0,
          version: version ?? 0,
          files: [],
          maxBytes: 1,
          messages: [{ runtimeId: "r1", clientId: "c1", sender: null }],
        });
        expect((await store.messages.of(row.id)).size).toBe(1);
        expect(await store.sessions.wasDeleted(row.publicId, "acme", "alice")).toBe(false);
        expect(await store.sessions.delete(row.id)).toBe(true);
        expect(await store.sessions.delete(row.id)).toBe(false);
        expect(await store.sessions.byName("acme", "alice", "a")).toBeUndefined();
        expect(await store.sessions.byPublicId(row.publicId, "acme", "alice")).toBeUndefined();
        expect(await store.sessions.byId(row.id)).toBeUndefined();
        expect(await store.sessions.namesOf(row.id)).toEqual([]);
        expect((await store.messages.of(row.id)).size).toBe(0);
        expect(await store.sessions.wasDeleted(row.publicId, "acme", "alice")).toBe(true);
        expect(await store.sessions.wasDeleted(row.publicId, "acme", "bob")).toBe(false);
        expect(await store.sessions.create(session(), "a")).toBe("created");
      });

      it("finds ephemeral sessions, and keeps no trace of a deleted one", async () => {
        const row = session({ ephemeral: true });
        await store.sessions.create(row, "once");
        await store.sessions.create(session(), "kept");
        expect(await store.sessions.ephemerals()).toEqual([row]);
        await store.sessions.delete(row.id);
        expect(await store.sessions.ephemerals()).toEqual([]);
        expect(await store.sessions.wasDeleted(row.publicId, "acme", "alice")).toBe(false);
      });

      it("knows whether a unit has sessions", async () => {
        const row = session({ unit: "session/1" });
        await store.sessions.create(row, "a");
        expect(await store.sessions.anyInUnit("session/1")).toBe(true);
        await store.sessions.delete(row.id);
        expect(await store.sessions.anyInUnit("session/1")).toBe(false);
      });
    });

    const here = () => ({ store, open, openAs: open });
    stateContract(here);
    turnsContract(here);
    requestKeysContract(here);
    tokensContract(here);
    browserSessionsContract(here);
    sessionLifeContract(here);
    participantsContract(here);

    it("keeps what is known of messages with the commit that they are part of, and for a copy of the history", async () => {
      const one = await held(store);
      const other = await held(store);
      const named = { runtimeId: "r1", clientId: "c1", sender: null };
      await one.commit({ messages: [{ runtimeId: "__proto__", clientId: "c0", sender: "bob" }, named] });
      await one.commit({ messages: [{ ...named, clientId: "c2", sender: "böb'; --" }] });
      await expect(
        one.commit({ version: 0, messages: [{ ...named, clientId: "of a commit that is refused" }] }),
      ).rejects.toMatchObject({ code: "fenced" });
      const known = [
        ["__proto__", { clientId: "c0", sender: "bob" }],
        ["r1", { clientId: "c2", sender: "böb'; --" }],
      ];
      expect([...(await store.messages.of(one.row.id))].sort()).toEqual(known);
      expect((await store.messages.of(other.row.id)).size).toBe(0);
      await store.messages.copy(one.row.id, other.row.id);
      await store.sessions.delete(one.row.id);
      expect([...(await store.messages.of(other.row.id))].sort()).toEqual(known);
    });

    it("keeps keys, finds them by hash, revokes them once", async () => {
      expect(await store.keys.any()).toBe(false);
      const older = key();
      const newer = key({ createdAt: 2_000, tenant: "other" });
      await store.keys.insert(older);
      await store.keys.insert(newer);
      await expect(store.keys.insert(key({ hash: older.hash }))).rejects.toMatchObject({
        code: "store_unavailable",
      });
      expect(await store.keys.byHash(older.hash)).toEqual(older);
      expect(await store.keys.byHash("x")).toBeUndefined();
      expect(await store.keys.list({ limit: 10 })).toEqual([newer, older]);
      expect(await store.keys.list({ limit: 10, tenant: "acme" })).toEqual([older]);
      await store.keys.used(older.id, 5_000);
      expect(await store.keys.revoke(older.id)).toBe(true);
      expect(await store.keys.revoke(older.id)).toBe(false);
      expect(await store.keys.byId(older.id)).toEqual({
        ...older,
        lastUsedAt: 5_000,
        revokedAt: place.clock.now(),
      });
      expect(await store.keys.any()).toBe(true);
      await store.keys.revoke(newer.id);
      expect(await store.keys.any()).toBe(false);
    });

    it("lists the audit newest first, in pages, by tenant", async () => {
      await store.audit.append(
        ...["a", "b", "c"].map((action) => entry({ action, detail: `{"of":"${action}"}` })),
      );
      await store.audit.append(entry({ action: "d", tenant: "other" }));
      await store.audit.append();
      const first = await store.audit.list({ limit: 2 });
      expect(first.map(({ action }) => action)).toEqual(["d", "c"]);
      expect(first[1]).toEqual({ ...entry({ action: "c", detail: '{"of":"c"}' }), id: first[1]?.id });
      const before = first[1]?.id ?? 0;
      expect((await store.audit.list({ limit: 9, before })).map(({ action }) => action)).toEqual(["b", "a"]);
      expect((await store.audit.list({ limit: 9, tenant: "acme" })).map(({ action }) => action)).toEqual([
        "c",
        "b",
        "a",
      ]);
    });

    it("keeps the newest 100,000 entries of the audit", async () => {
      for (let round = 0; round < 5; round++) {
        await store.audit.append(...Array.from({ length: 20_000 }, () => entry({ action: `${round}` })));
      }
      await store.audit.append(entry({ action: "last" }), entry({ action: "very last" }));
      const kept = await store.audit.list({ limit: 200_000 });
      expect(kept).toHaveLength(100_000);
      expect(kept[0]?.action).toBe("very last");
    });

    it("has everything after it was closed and opened again", async () => {
      const row = session();
      await store.sessions.create(row, "a");
      await store.keys.insert(key());
      await store.close();
      const again = await open();
      expect((await again.sessions.byName("acme", "alice", "a"))?.id).toBe(row.id);
      expect(await again.keys.any()).toBe(true);
    });

    it("shows one connection what another has written, at once", async () => {
      const other = await open();
      const row = session();
      await store.sessions.create(row, "a");
      expect((await other.sessions.byName("acme", "alice", "a"))?.id).toBe(row.id);
      await other.sessions.delete(row.id);
      expect(await store.sessions.byId(row.id)).toBeUndefined();
    });

    it("answers a ping while open, and refuses everything with store_unavailable once closed", async () => {
      await store.ping();
      await store.close();
      for (const call of [
        () => store.ping(),
        () => store.sessions.byId("x"),
        () => store.sessions.create(session(), "a"),
        () => store.audit.append(entry()),
      ]) {
        await expect(call()).rejects.toMatchObject({ code: "store_unavailable" });
      }
    });
  });
};
