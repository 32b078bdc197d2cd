import { it } from "vitest";
import { expectKept } from "./expect-kept.ts";
import { canMount, fillDisk, lockStore } from "./scenarios/store.ts";

const timeout = 120_000;

it("a store that another process locks is a clear error, and service resumes", { timeout }, async () => {
  await expectKept(lockStore, { rounds: 1, clients: 8 });
});

it.skipIf(!(await canMount()))("a full disk is a clear error, and service resumes", { timeout }, async () => {
  await expectKept(fillDisk, { rounds: 1, clients: 8 });
});
