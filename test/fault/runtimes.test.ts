import { expect, it } from "vitest";
import { expectKept } from "./expect-kept.ts";

const timeout = 120_000;

it("kill -9 of runtimes under load hangs no call, loses and repeats no turn", { timeout }, async () => {
  const { faults } = await expectKept("kill-runtime", { rounds: 12, clients: 12 });
  expect(faults).toBeGreaterThan(0);
});

it("runtimes that hang do no more harm than those that die", { timeout }, async () => {
  const { faults } = await expectKept("hang-runtime", { rounds: 1, clients: 12 });
  expect(faults).toBeGreaterThan(0);
});
