import { it } from "vitest";
import { expectKept } from "./expect-kept.ts";

const timeout = 120_000;

it("a store that another process locks is a clear error, and service resumes", { timeout }, async () => {
  await expectKept("lock-store", { rounds: 1, clients: 8 });
});

it("a full disk is a clear error, and service resumes", { timeout }, async () => {
  await expectKept("fill-disk", { rounds: 1, clients: 8 });
});
