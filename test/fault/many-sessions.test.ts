import { it } from "vitest";
import { expectKept } from "./expect-kept.ts";

it("ten times as many sessions as places: every answer is right", { timeout: 120_000 }, async () => {
  await expectKept("many-sessions", { rounds: 2, clients: 60 });
});
