import { expect, it } from "vitest";
import { expectKept } from "./expect-kept.ts";

it.each([
  ["crowd", "many callers in one session"],
  ["room", "many users who share one session"],
])(
  "%s: %s, cut and killed at random: each gets its own answer or its own interruption",
  {
    timeout: 120_000,
  },
  async (scenario) => {
    const { faults } = await expectKept(scenario, { rounds: 40, clients: 10 });
    expect(faults).toBeGreaterThan(0);
  },
);
