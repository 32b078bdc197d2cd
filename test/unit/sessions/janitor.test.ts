import { describe, expect, it } from "vitest";
import { createJanitor, type Janitor } from "../../../src/sessions/janitor.ts";
import { openStore } from "../../../src/store/open-store.ts";
import type { NewSession, Store } from "../../../src/store/store.ts";
import { createLog } from "../../../src/telemetry/log.ts";
import { ManualClock } from "../../support/manual-clock.ts";
import { tempDir } from "../../support/temp.ts";
import { eventually } from "../../support/wait.ts";

const day = 86_400_000;

interface House extends AsyncDisposable {
  readonly store: Store;
  readonly clock: ManualClock;
  readonly janitor: Janitor;
  readonly busy: Set<string>;
  readonly broken: Set<string>;
  /** A session that was used so many days ago. */
  add(id: string, daysAgo: number, traits?: Partial<NewSession>): Promise<void>;
  left(): Promise<readonly string[]>;
}

const startHouse = async (): Promise<House> => {
  const directory = await tempDir("janitor");
  const clock = new ManualClock();
  const store = await openStore(`sqlite:${directory.path}/s.db`, { clock });
  const busy = new Set<string>();
  const broken = new Set<string>();
  const janitor = createJanitor({
    clock,
    store,
    log: createLog({ level: "silent" }),
    requestKeysMs: 5 * day,
    timesToLive: { defaultMs: 30 * day, tenants: { brief: 5 * day } },
    random: () => 0.5,
    noteUses: async () => undefined,
    inUse: (id) => busy.has(id),
    async remove({ id }) {
      if (broken.has(id)) throw new Error("cannot");
      return store.sessions.delete(id);
    },
  });
  return {
    store,
    clock,
    janitor,
    busy,
    broken,
    async add(id, daysAgo, traits = {}) {
      const at = clock.now() - daysAgo * day;
      const row: NewSession = {
        id,
        publicId: `ses_${id}`,
        tenant: "acme",
        owner: "alice",
        unit: "u",
        isolation: "user",
        createdAt: at,
        updatedAt: at,
        lastUsedAt: at,
        title: null,
        record: "{}",
        createdUpstream: true,
        ephemeral: false,
        visibility: "private",
        senderNames: false,
        inputTokens: 0,
        outputTokens: 0,
        ttlMs: null,
        ...traits,
      };
      await store.sessions.create(row, id);
    },
    left: async () => (await store.sessions.listAll({ limit: 1000 })).sessions.map(({ id }) => id).sort(),
    async [Symbol.asyncDispose]() {
      await janitor.close();
      await store.close();
      await directory.remove();
    },
  };
};

describe("the janitor", () => {
  it("deletes what is past its own time, its tenant's or the common one, by itself", async () => {
    await using house = await startHouse();
    await house.add("common-old", 31);
    await house.add("common-young", 29);
    await house.add("brief-old", 6, { tenant: "brief" });
    await house.add("brief-young", 4, { tenant: "brief" });
    await house.add("own-short", 2, { ttlMs: day });
    await house.add("own-long", 300, { ttlMs: 365 * day, tenant: "brief" });
    house.clock.advance(10 * 60_000 - 1);
    expect(await house.left()).toHaveLength(6);
    house.clock.advance(1);
    await eventually(async () => (await house.left()).length === 3, { what: "three are deleted" });
    expect(await house.left()).toEqual(["brief-young", "common-young", "own-long"]);
    await eventually(() => house.clock.pending > 0, { what: "the next run is set" });
    house.clock.advance(2 * day);
    await eventually(async () => (await house.left()).length === 1, { what: "it goes on" });
    expect(await house.left()).toEqual(["own-long"]);
  });

  it("leaves what is in use, which counts as a use, and what cannot be deleted; neither hides the others", async () => {
    await using house = await startHouse();
    await house.add("in-use", 99);
    await house.add("broken", 98);
    await house.add("old", 97);
    house.busy.add("in-use");
    house.broken.add("broken");
    const first = await house.janitor.prune({ dryRun: false, limit: 2 });
    expect(first).toEqual({ sessions: [], inUse: 1, failed: 1, more: true });
    const second = await house.janitor.prune({ dryRun: false, limit: 2 });
    expect(second).toMatchObject({ sessions: [{ id: "old" }], inUse: 0, failed: 1, more: false });
    house.busy.clear();
    await house.janitor.prune({ dryRun: false, limit: 10 });
    expect(await house.left()).toEqual(["broken", "in-use"]);
  });

  it("only says which when it is a dry run, and takes another time and one tenant when told so", async () => {
    await using house = await startHouse();
    await house.add("a", 10);
    await house.add("b", 10, { tenant: "other" });
    await house.add("own", 10, { ttlMs: 365 * day });
    const asked = { tenant: "acme", unusedForMs: 9 * day, limit: 10 };
    const dry = await house.janitor.prune({ ...asked, dryRun: true });
    expect(dry.sessions.map(({ id }) => id)).toEqual(["a"]);
    expect(await house.left()).toEqual(["a", "b", "own"]);
    await house.janitor.prune({ ...asked, dryRun: false });
    expect(await house.left()).toEqual(["b", "own"]);
  });

  it("works through many in batches with a pause between them, and ends when it is closed", async () => {
    await using house = await startHouse();
    for (let one = 0; one < 250; one++) await house.add(`s${one}`, 40);
    house.clock.advance(10 * 60_000);
    await eventually(async () => (await house.left()).length === 150, { what: "the first batch is gone" });
    await eventually(() => house.clock.pending > 0, { what: "it pauses" });
    house.clock.advance(1_000);
    await eventually(async () => (await house.left()).length === 50, { what: "the second batch is gone" });
    await eventually(() => house.clock.pending > 0, { what: "it pauses again" });
    await house.janitor.close();
    expect(await house.left()).toHaveLength(50);
    expect(house.clock.pending).toBe(0);
  });
});
