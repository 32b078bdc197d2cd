import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { StaticKey } from "../../../src/config/config.ts";
import { createIdentity } from "../../../src/identity/identity.ts";
import { createKey } from "../../../src/identity/keys.ts";
import { Secret } from "../../../src/kernel/secret.ts";
import { openStore } from "../../../src/store/open-store.ts";
import type { Store } from "../../../src/store/store.ts";
import { ManualClock } from "../../support/manual-clock.ts";
import { type TempDir, tempDir } from "../../support/temp.ts";

const keyOf = (user: string, key = `${user}-key`): StaticKey => ({
  key: new Secret(key),
  tenant: "acme",
  user,
  roles: ["user"],
});
const day = 86_400_000;
const unauthenticated = { code: "unauthenticated" };

describe("browser sessions", () => {
  let dir: TempDir;
  let store: Store;
  let clock: ManualClock;

  beforeEach(async () => {
    dir = await tempDir("browser-sessions");
    clock = new ManualClock();
    store = await openStore(`sqlite:${join(dir.path, "squadron.db")}`, { clock });
  });
  afterEach(async () => {
    await store.close();
    await dir.remove();
  });

  const identity = (...keys: readonly StaticKey[]) => createIdentity({ keys, store, clock });

  it("are good for fourteen days, and their followers are told the end", async () => {
    const door = identity(keyOf("alice"));
    const token = (await door.signIn("alice-key")).token.reveal();
    const caller = await door.authenticateBrowser(token);
    expect(caller.principal.user).toBe("alice");
    let told = 0;
    door.whenSignedOut(caller, () => told++);
    door.whenSignedOut(caller, () => told++)();
    clock.advance(14 * day - 1);
    expect((await door.authenticateBrowser(token)).principal.user).toBe("alice");
    expect(told).toBe(0);
    clock.advance(1);
    expect(told).toBe(1);
    await expect(door.authenticateBrowser(token)).rejects.toMatchObject(unauthenticated);
  });

  it("go with the key, not with its place in the configuration", async () => {
    const first = identity(keyOf("alice"), keyOf("bob"));
    const token = (await first.signIn("bob-key")).token.reveal();
    const moved = identity(keyOf("bob"), keyOf("alice"));
    expect((await moved.authenticateBrowser(token)).principal.user).toBe("bob");
    // The same user with another key, at the same place.
    const changed = identity(keyOf("alice"), keyOf("bob", "another-key"));
    await expect(changed.authenticateBrowser(token)).rejects.toMatchObject(unauthenticated);
    await expect(first.authenticateBrowser(token)).rejects.toMatchObject(unauthenticated);
  });

  it("end with a key that was made and is revoked", async () => {
    const door = identity();
    const { key, row } = await createKey(
      store,
      { tenant: "acme", user: "bob", roles: ["user"], label: "" },
      clock,
    );
    const token = (await door.signIn(key.reveal())).token.reveal();
    expect(await door.authenticateBrowser(token)).toMatchObject({ keyId: row.id });
    await store.keys.revoke(row.id);
    await expect(door.authenticateBrowser(token)).rejects.toMatchObject(unauthenticated);
    await expect(door.signIn(key.reveal())).rejects.toMatchObject(unauthenticated);
  });

  it("end when they sign out, each for itself", async () => {
    const door = identity(keyOf("alice"));
    const [one, two] = [await door.signIn("alice-key"), await door.signIn("alice-key")];
    let told = 0;
    door.whenSignedOut(await door.authenticateBrowser(one.token.reveal()), () => told++);
    await door.signOut(two.token.reveal());
    expect(told).toBe(0);
    await door.signOut(one.token.reveal());
    expect(told).toBe(1);
    await expect(door.authenticateBrowser(one.token.reveal())).rejects.toMatchObject(unauthenticated);
  });

  it("end when the user has too many, and tell so at once to who follows them too late", async () => {
    const door = identity(keyOf("alice"));
    const oldest = await door.authenticateBrowser((await door.signIn("alice-key")).token.reveal());
    let told = 0;
    door.whenSignedOut(oldest, () => told++);
    for (let at = 0; at < 19; at++) {
      clock.advance(1);
      await door.signIn("alice-key");
    }
    expect(told).toBe(0);
    clock.advance(1);
    const last = (await door.signIn("alice-key")).token.reveal();
    expect(told).toBe(1);
    door.whenSignedOut(oldest, () => told++);
    expect(told).toBe(2);
    const caller = await door.authenticateBrowser(last);
    await door.signOut(last);
    door.whenSignedOut(caller, () => told++);
    expect(told).toBe(3);
  });

  it("are opened with a key, and with nothing else", async () => {
    const door = identity(keyOf("alice"));
    const web = (await door.signIn("alice-key")).token.reveal();
    const once = door.oneTimeToken({ tenant: "acme", user: "alice", roles: ["user"] }).reveal();
    for (const wrong of ["", "wrong", web, once, "x".repeat(100_000)])
      await expect(door.signIn(wrong)).rejects.toMatchObject(unauthenticated);
    // And they are no keys.
    await expect(door.authenticate(web)).rejects.toMatchObject(unauthenticated);
    for (const wrong of ["", "alice-key", `${web}x`, once, "sqd_web_", "x".repeat(100_000)])
      await expect(door.authenticateBrowser(wrong)).rejects.toMatchObject(unauthenticated);
  });
});
