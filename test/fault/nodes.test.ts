import { it } from "vitest";
import { expectKept } from "./expect-kept.ts";

const timeout = 120_000;

it("kill -9 of the node loses no acknowledged turn", { timeout }, async () => {
  await expectKept("kill-node", { rounds: 2, clients: 6 });
});

it("what lies on the disks of runtimes may be lost", { timeout }, async () => {
  await expectKept("lose-boxes", { rounds: 1, clients: 6 });
});

it("a rolling restart shows clients nothing but 503", { timeout }, async () => {
  await expectKept("rolling-restart", { rounds: 2, clients: 6 });
});

it("a crash at any point of commit and wake leaves histories and turn rows in agreement", {
  timeout,
}, async () => {
  await expectKept("crash-everywhere", { rounds: 1, clients: 6 });
});
