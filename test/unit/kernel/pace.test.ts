import { describe, expect, it } from "vitest";
import { createPace } from "../../../src/kernel/pace.ts";

/** How often others came to run while so many steps were made, each of which takes `ms`. */
const othersIn = async (steps: number, ms: number, bytes = 0): Promise<number> => {
  let now = 0;
  let others = 0;
  let timer = setImmediate(function again() {
    others++;
    timer = setImmediate(again);
  });
  const pace = createPace(() => now);
  for (let step = 0; step < steps; step++) {
    now += ms;
    await pace(bytes);
  }
  clearImmediate(timer);
  return others;
};

describe("a pace", () => {
  it("lets others run after so many steps, however short, and after so long, however few", async () => {
    expect(await othersIn(63, 0)).toBe(0);
    expect(await othersIn(640, 0)).toBe(10);
    expect(await othersIn(10, 3.9)).toBe(5);
    expect(await othersIn(10, 100)).toBe(10);
    expect(await othersIn(10, 0, 2 ** 20)).toBe(5);
  });
});
