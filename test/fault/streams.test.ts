import { expect, it } from "vitest";
import { expectKept } from "./expect-kept.ts";

it("what readers have of a session, joined, is its history, whatever was cut, killed or restarted", {
  timeout: 120_000,
}, async () => {
  const { notes } = await expectKept("cut-streams", { rounds: 4, clients: 6 });
  expect(notes[0]).toMatch(/^[1-9]\d+ events, [1-9]\d+ reconnects, \d+ rewinds$/);
});
