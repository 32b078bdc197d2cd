import { randomUUID } from "node:crypto";
import { describe, expect, it } from "vitest";
import { maxOpenInvites, maxParticipants, type NewInvite } from "../../src/store/store.ts";
import { type Here, session } from "./rows.ts";

const invite = (sessionId: string, over: Partial<NewInvite> = {}): NewInvite => ({
  id: randomUUID(),
  hash: randomUUID(),
  sessionId,
  role: "writer",
  usesLeft: 1,
  expiresAt: 10_000,
  createdBy: "alice",
  createdAt: 1_000,
  ...over,
});

/** Who takes part in which session as what, and who may come to. */
export const participantsContract = (here: Here): void => {
  describe("participants", () => {
    const shared = async (name = "review") => {
      const row = session();
      await here().store.sessions.create(row, name);
      return row;
    };

    it("lets users of the tenant find a session, each by a name of their own, with their role", async () => {
      const { store } = here();
      const row = await shared();
      expect(await store.participants.grant(row.id, { user: "bob", role: "reader" })).toEqual({
        kind: "granted",
        participant: { user: "bob", name: "alice~review", role: "reader" },
        before: undefined,
      });
      await store.participants.grant(row.id, { user: "Åsa", role: "owner", name: "mine" });
      expect(await store.participants.list(row.id)).toEqual([
        { user: "alice", name: "review", role: "owner" },
        { user: "bob", name: "alice~review", role: "reader" },
        { user: "Åsa", name: "mine", role: "owner" },
      ]);
      expect(await store.participants.counts([row.id, "other"])).toEqual(new Map([[row.id, 3]]));
      const theirs = { id: row.id, owner: "alice", name: "alice~review", role: "reader" };
      expect(await store.sessions.byName("acme", "bob", "alice~review")).toMatchObject(theirs);
      expect(await store.sessions.byPublicId(row.publicId, "acme", "bob")).toMatchObject(theirs);
      expect((await store.sessions.list("acme", "bob", { limit: 5 })).sessions).toMatchObject([theirs]);
      expect(await store.sessions.byName("other", "bob", "alice~review")).toBeUndefined();
      expect(await store.sessions.byPublicId(row.publicId, "other", "bob")).toBeUndefined();
    });

    it("shows a session with two owners once where all are shown, and counts it for its founder alone", async () => {
      const { store } = here();
      const row = await shared();
      await store.participants.grant(row.id, { user: "bob", role: "owner" });
      const all = await store.sessions.listAll({ limit: 10 });
      expect(all.sessions.map(({ name, owner }) => [name, owner])).toEqual([["review", "alice"]]);
      const old = await store.sessions.expired({ now: 1e9, defaultTtlMs: 1, tenantTtlMs: {}, limit: 10 });
      expect(old.map(({ name }) => name)).toEqual(["review"]);
      expect(await store.sessions.countOf("acme", "bob")).toBe(0);
      expect(await store.sessions.countOf("acme", "alice")).toBe(1);
    });

    it("changes a role and keeps the name, and takes no name that the user has", async () => {
      const { store } = here();
      const first = await shared();
      const second = session();
      await store.sessions.create(session({ owner: "bob" }), "alice~other");
      await store.sessions.create(second, "other");
      await store.participants.grant(first.id, { user: "bob", role: "reader" });
      expect(
        await store.participants.grant(first.id, { user: "bob", role: "writer", name: "x" }),
      ).toMatchObject({
        participant: { name: "alice~review", role: "writer" },
        before: "reader",
      });
      expect(await store.participants.grant(second.id, { user: "bob", role: "reader" })).toMatchObject({
        participant: { name: "alice~other-2" },
      });
      const third = session();
      await store.sessions.create(third, "third");
      expect(
        await store.participants.grant(third.id, { user: "bob", role: "reader", name: "alice~other" }),
      ).toMatchObject({ participant: { name: "alice~other-3" } });
      const long = session();
      await store.sessions.create(long, "n".repeat(300));
      const given = await store.participants.grant(long.id, { user: "bob", role: "reader" });
      expect(given.kind === "granted" && given.participant.name.length).toBe(190);
    });

    it("lets nobody lower or remove the founder", async () => {
      const { store } = here();
      const row = await shared();
      expect(await store.participants.grant(row.id, { user: "alice", role: "reader" })).toEqual({
        kind: "founder",
      });
      expect(await store.participants.revoke(row.id, "alice")).toEqual({ kind: "founder" });
      expect(await store.participants.list(row.id)).toHaveLength(1);
    });

    it("takes a part away, and knows who has none", async () => {
      const { store } = here();
      const row = await shared();
      await store.participants.grant(row.id, { user: "bob", role: "reader" });
      expect(await store.participants.revoke(row.id, "bob")).toMatchObject({ kind: "revoked" });
      expect(await store.participants.revoke(row.id, "bob")).toEqual({ kind: "no_participant" });
      expect(await store.participants.revoke(randomUUID(), "bob")).toEqual({ kind: "no_participant" });
      expect(await store.sessions.byName("acme", "bob", "alice~review")).toBeUndefined();
      expect(await store.sessions.wasDeleted(row.publicId, "acme", "bob")).toBe(false);
      expect(await store.participants.grant(randomUUID(), { user: "bob", role: "reader" })).toEqual({
        kind: "no_session",
      });
    });

    it("forgets participants and invites with the session, which each of them is told was deleted", async () => {
      const { store } = here();
      const row = await shared();
      const made = invite(row.id);
      await store.participants.grant(row.id, { user: "bob", role: "reader" });
      await store.participants.addInvite(made);
      await store.sessions.delete(row.id);
      expect(await store.participants.list(row.id)).toEqual([]);
      expect(await store.sessions.wasDeleted(row.publicId, "acme", "bob")).toBe(true);
      expect(await store.participants.accept(made.hash, { tenant: "acme", user: "eve", now: 2_000 })).toEqual(
        {
          kind: "invalid",
        },
      );
    });

    it("lets no more than its number take part, however many ask at once", async () => {
      const { store } = here();
      const row = await shared();
      const users = Array.from({ length: maxParticipants + 3 }, (_, at) => `user-${at}`);
      const kinds = await Promise.all(
        users.map(async (user) => (await store.participants.grant(row.id, { user, role: "reader" })).kind),
      );
      expect(kinds.filter((kind) => kind === "full")).toHaveLength(4);
      expect(await store.participants.grant(row.id, { user: "user-0", role: "writer" })).toMatchObject({
        kind: "granted",
      });
      const made = invite(row.id);
      await store.participants.addInvite(made);
      expect(await store.participants.accept(made.hash, { tenant: "acme", user: "eve", now: 2_000 })).toEqual(
        {
          kind: "full",
        },
      );
      expect(await store.participants.invites(row.id, 2_000)).toMatchObject([{ usesLeft: 1 }]);
    });
  });

  describe("invites", () => {
    const offered = async (over: Partial<NewInvite> = {}) => {
      const row = session();
      const { store } = here();
      await store.sessions.create(row, "review");
      const made = invite(row.id, over);
      expect(await store.participants.addInvite(made)).toBe(true);
      const accept = (user: string, who: { tenant?: string; now?: number; name?: string } = {}) =>
        store.participants.accept(made.hash, { tenant: "acme", now: 2_000, user, ...who });
      return { row, made, accept };
    };

    it("gives each use once, though all ask at once over several connections", async () => {
      const { store, open } = here();
      const { row, made } = await offered({ usesLeft: 3 });
      const others = [store, await open(), await open()];
      const kinds = await Promise.all(
        Array.from({ length: 30 }, async (_, at) => {
          const asked = others[at % others.length] ?? store;
          const who = { tenant: "acme", user: `user-${at}`, now: 2_000 };
          return (await asked.participants.accept(made.hash, who)).kind;
        }),
      );
      expect(kinds.filter((kind) => kind === "joined")).toHaveLength(3);
      expect(await store.participants.list(row.id)).toHaveLength(4);
      expect(await store.participants.invites(row.id, 2_000)).toEqual([]);
    });

    it("spends one use when one user asks many times at once", async () => {
      const { store } = here();
      const { row, accept } = await offered({ usesLeft: 5 });
      const all = await Promise.all(Array.from({ length: 10 }, () => accept("bob")));
      expect(all.filter((one) => one.kind === "joined")).toHaveLength(1);
      expect(await store.participants.invites(row.id, 2_000)).toMatchObject([{ usesLeft: 4 }]);
    });

    it("lowers nobody, and costs nothing who takes part already", async () => {
      const { store } = here();
      const { row, accept } = await offered({ role: "reader" });
      await store.participants.grant(row.id, { user: "bob", role: "writer" });
      expect(await accept("bob")).toMatchObject({ kind: "already", participant: { role: "writer" } });
      expect(await accept("alice")).toMatchObject({ kind: "already", participant: { role: "owner" } });
      expect(await accept("eve", { name: "hers" })).toMatchObject({
        kind: "joined",
        participant: { name: "hers", role: "reader" },
      });
    });

    it("is of no use to another tenant, when it has expired, or when it has been taken back", async () => {
      const { store } = here();
      const { row, made, accept } = await offered();
      expect(await accept("carol", { tenant: "other" })).toEqual({ kind: "invalid" });
      expect(await accept("bob", { now: 10_000 })).toEqual({ kind: "invalid" });
      expect(await store.participants.invites(row.id, 10_000)).toEqual([]);
      expect(await store.participants.removeInvite(randomUUID(), made.id)).toBe(false);
      expect(await store.participants.removeInvite(row.id, made.id)).toBe(true);
      expect(await accept("bob")).toEqual({ kind: "invalid" });
      expect(await store.participants.list(row.id)).toHaveLength(1);
    });

    it("finds the session again for who has joined by it, and nobody else, until their part ends", async () => {
      const { store } = here();
      const { row, accept } = await offered();
      await store.participants.grant(row.id, { user: "eve", role: "reader" });
      expect(await accept("bob")).toMatchObject({ kind: "joined" });
      expect(await store.participants.invites(row.id, 2_000)).toEqual([]);
      const participant = { user: "bob", name: "alice~review", role: "writer" };
      for (const now of [2_000, 10_000])
        expect(await accept("bob", { now })).toEqual({ kind: "already", participant });
      for (const user of ["alice", "eve"]) expect(await accept(user)).toEqual({ kind: "invalid" });
      expect(await accept("bob", { tenant: "other" })).toEqual({ kind: "invalid" });
      await store.participants.revoke(row.id, "bob");
      expect(await accept("bob")).toEqual({ kind: "invalid" });
      await store.participants.grant(row.id, { user: "bob", role: "reader" });
      expect(await accept("bob")).toEqual({ kind: "invalid" });
    });

    it("goes when the owner who made it is one no longer", async () => {
      const { store } = here();
      const { row } = await offered();
      const byBob = () => store.participants.addInvite(invite(row.id, { createdBy: "bob" }));
      const makers = async () =>
        (await store.participants.invites(row.id, 2_000)).map(({ createdBy }) => createdBy);
      await store.participants.grant(row.id, { user: "bob", role: "owner" });
      await byBob();
      await store.participants.grant(row.id, { user: "bob", role: "owner" });
      expect((await makers()).sort()).toEqual(["alice", "bob"]);
      await store.participants.grant(row.id, { user: "bob", role: "writer" });
      expect(await makers()).toEqual(["alice"]);
      await byBob();
      await store.participants.revoke(row.id, "bob");
      expect(await makers()).toEqual(["alice"]);
    });

    it("is one of so many that can be used; expired ones make room", async () => {
      const { store } = here();
      const { row } = await offered();
      for (let count = 1; count < maxOpenInvites; count++)
        expect(await store.participants.addInvite(invite(row.id))).toBe(true);
      expect(await store.participants.addInvite(invite(row.id))).toBe(false);
      expect(
        await store.participants.addInvite(invite(row.id, { createdAt: 10_000, expiresAt: 20_000 })),
      ).toBe(true);
      expect(await store.participants.addInvite(invite(randomUUID()))).toBe(false);
    });
  });
};
