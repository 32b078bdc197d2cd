import { expect, it } from "vitest";
import { expectKept } from "./expect-kept.ts";

it("many callers in one session, cut and killed at random: each gets its own answer or its own interruption", {
  timeout: 120_000,
}, async () => {
  const { faults } = await expectKept("crowd", { rounds: 60, clients: 10 });
  expect(faults).toBeGreaterThan(0);
});
