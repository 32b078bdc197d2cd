import { it } from "vitest";
import { expectKept } from "./expect-kept.ts";
import { crashEverywhere } from "./scenarios/crash.ts";
import { killNode, loseBoxes, rollingRestart } from "./scenarios/nodes.ts";

const timeout = 120_000;

it("kill -9 of the node loses no acknowledged turn", { timeout }, async () => {
  await expectKept(killNode, { rounds: 2, clients: 10 });
});

it("what lies on the disks of runtimes may be lost", { timeout }, async () => {
  await expectKept(loseBoxes, { rounds: 2, clients: 10 });
});

it("a rolling restart shows clients nothing but 503", { timeout }, async () => {
  await expectKept(rollingRestart, { rounds: 2, clients: 10 });
});

it("a crash at any point of commit and wake leaves histories and turn rows in agreement", {
  timeout,
}, async () => {
  await expectKept(crashEverywhere, { rounds: 1, clients: 8 });
});
