import { join } from "node:path";
import { inspect } from "node:util";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { StaticKey } from "../../../src/config/config.ts";
import { createIdentity, ensureFirstAdminKey } from "../../../src/identity/identity.ts";
import { createKey, type NewKey } from "../../../src/identity/keys.ts";
import { Secret } from "../../../src/kernel/secret.ts";
import { openStore } from "../../../src/store/open-store.ts";
import type { Store } from "../../../src/store/store.ts";
import { ManualClock } from "../../support/manual-clock.ts";
import { type TempDir, tempDir } from "../../support/temp.ts";

const staticKeys: readonly StaticKey[] = [
  {
    key: new Secret("alice-key"),
    tenant: "acme",
    user: "alice",
    roles: ["user"],
    githubToken: new Secret("gho_alice"),
  },
  { key: new Secret("root-key"), tenant: "ops", user: "root", roles: ["admin"] },
];
const bob: NewKey = { tenant: "acme", user: "bob", roles: ["user"], label: "laptop" };

describe("identity", () => {
  let dir: TempDir;
  let store: Store;
  const clock = new ManualClock();

  beforeEach(async () => {
    dir = await tempDir("identity");
    store = await openStore(`sqlite:${join(dir.path, "squadron.db")}`, { clock });
  });

  afterEach(async () => {
    await store.close();
    await dir.remove();
  });

  const identity = (keys: readonly StaticKey[] = staticKeys) => createIdentity({ keys, store, clock });

  const refusal = async (token: string | undefined): Promise<unknown> => {
    const error: unknown = await identity()
      .authenticate(token)
      .catch((reason: unknown) => reason);
    return error instanceof Error ? { ...error, message: error.message } : error;
  };

  it("recognises static keys, with the user's GitHub token", async () => {
    const alice = await identity().authenticate("alice-key");
    expect(alice.principal).toEqual({ tenant: "acme", user: "alice", roles: ["user"] });
    expect(alice.githubToken?.reveal()).toBe("gho_alice");
    const root = await identity().authenticate("root-key");
    expect(root.principal.user).toBe("root");
    expect("githubToken" in root).toBe(false);
    expect(root.keyId).not.toBe(alice.keyId);
    expect(inspect(alice, { depth: 9 })).not.toMatch(/alice-key|gho_/);
  });

  it("recognises a key that was made, in every process with the same store", async () => {
    const { key, row } = await createKey(store, bob, clock);
    expect(key.reveal()).toMatch(/^sqd_[A-Za-z0-9_-]{43}$/);
    const found = await identity([]).authenticate(key.reveal());
    expect(found).toEqual({ principal: { tenant: "acme", user: "bob", roles: ["user"] }, keyId: row.id });
  });

  it("stores nothing that a key could be read from", async () => {
    const { key, row } = await createKey(store, bob, clock);
    const stored = JSON.stringify(await store.keys.list({ limit: 10 }));
    expect(stored).not.toContain(key.reveal().slice(4, 20));
    expect(JSON.stringify(row)).not.toContain(key.reveal().slice(4, 20));
  });

  it("says the same to every token that it does not take", async () => {
    const { key, row } = await createKey(store, bob, clock);
    await store.keys.revoke(row.id);
    const refusals = await Promise.all(
      [
        undefined,
        "",
        "wrong",
        "alice-key ",
        "ALICE-KEY",
        row.hash,
        row.id,
        key.reveal(),
        "x".repeat(100_000),
      ].map(refusal),
    );
    expect(refusals[0]).toMatchObject({ code: "unauthenticated", details: {} });
    for (const other of refusals) expect(other).toEqual(refusals[0]);
  });

  it("refuses a key from the moment it is revoked", async () => {
    const { key, row } = await createKey(store, bob, clock);
    const door = identity();
    await door.authenticate(key.reveal());
    await store.keys.revoke(row.id);
    await expect(door.authenticate(key.reveal())).rejects.toMatchObject({ code: "unauthenticated" });
  });

  it("notes when a key was used, at most once a minute", async () => {
    const { key, row } = await createKey(store, bob, clock);
    const lastUse = async () => (await store.keys.byId(row.id))?.lastUsedAt;
    expect(await lastUse()).toBeNull();
    const first = clock.now();
    await identity().authenticate(key.reveal());
    clock.advance(59_999);
    await identity().authenticate(key.reveal());
    expect(await lastUse()).toBe(first);
    clock.advance(1);
    await identity().authenticate(key.reveal());
    expect(await lastUse()).toBe(first + 60_000);
  });

  it("is unavailable, not open, when the store is", async () => {
    await store.close();
    await expect(identity().authenticate("wrong")).rejects.toMatchObject({ code: "store_unavailable" });
    expect((await identity().authenticate("alice-key")).principal.user).toBe("alice");
  });

  it("makes no key for a name that is none", async () => {
    for (const name of ["", "a\nb", "a\0", "\u0085", "\ud800", "n".repeat(129)]) {
      await expect(createKey(store, { ...bob, user: name })).rejects.toMatchObject({
        code: "invalid_request",
      });
      await expect(createKey(store, { ...bob, tenant: name })).rejects.toMatchObject({
        code: "invalid_request",
        details: { parameter: "tenant" },
      });
    }
    await expect(createKey(store, { ...bob, roles: [] })).rejects.toMatchObject({
      code: "invalid_request",
    });
    await expect(createKey(store, { ...bob, label: "l".repeat(201) })).rejects.toMatchObject({
      code: "invalid_request",
    });
    expect(await store.keys.any()).toBe(false);
    for (const user of ["__proto__", "👩‍🚀", "alice-smith", "n".repeat(128)]) {
      const { key } = await createKey(store, { ...bob, user });
      expect((await identity().authenticate(key.reveal())).principal.user).toBe(user);
    }
  });

  it("makes the first admin's key once, and only where there is no other", async () => {
    const key = await ensureFirstAdminKey(store, clock);
    expect((await identity([]).authenticate(key?.reveal())).principal).toEqual({
      tenant: "default",
      user: "admin",
      roles: ["user", "tenant-admin", "admin"],
    });
    expect(await ensureFirstAdminKey(store, clock)).toBeUndefined();
  });
});
