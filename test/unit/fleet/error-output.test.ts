import { PassThrough } from "node:stream";
import { finished } from "node:stream/promises";
import { expect, test } from "vitest";
import { followErrorOutput } from "../../../src/fleet/error-output.ts";
import type { Clock } from "../../../src/kernel/clock.ts";
import { Secret } from "../../../src/kernel/secret.ts";
import { createLog } from "../../../src/telemetry/log.ts";

const follow = (secrets: Secret[] = []) => {
  const time = { ms: 0 };
  const clock: Clock = { now: () => time.ms, monotonic: () => time.ms, after: () => () => undefined };
  const lines: { msg: string; line?: string; lines?: number }[] = [];
  const log = createLog({ level: "trace", destination: { write: (line) => lines.push(JSON.parse(line)) } });
  const stream = new PassThrough();
  const output = followErrorOutput(stream, { log, clock, secrets });
  const end = async () => {
    stream.end();
    await finished(stream);
    stream.destroy();
  };
  return { stream, output, lines, end, time };
};

test("lines are logged whole, however they arrive; the last one without its newline too", async () => {
  const { stream, output, lines, end } = follow();
  stream.write("one\ntw");
  stream.write("o\n\nthree");
  await end();
  await expect.poll(() => output.tail()).toEqual(["one", "two", "three"]);
  expect(lines.map(({ line }) => line)).toEqual(["one", "two", "three"]);
});

test("what the process was given as a secret is masked, also at the cut of a long line", async () => {
  const { stream, output, lines, end } = follow([new Secret("s3cr3t-value"), new Secret("1")]);
  stream.write(`key=s3cr3t-value n=1\n${"x".repeat(995)}s3cr3t-value tail\n`);
  await end();
  await expect.poll(() => output.tail().length).toBe(2);
  expect(output.tail()[0]).toBe("key=[secret] n=1");
  expect(JSON.stringify([lines, output.tail()])).not.toContain("s3cr");
});

test("a line without an end, and a flood of lines, are bounded and counted", async () => {
  const { stream, output, lines, end, time } = follow();
  stream.write("y".repeat(3_000_000));
  stream.write(`\n${"flood\n".repeat(10_000)}`);
  await expect.poll(() => lines.length).toBeGreaterThan(0);
  time.ms = 2_000;
  stream.write("later\n");
  await end();
  await expect.poll(() => output.tail().at(-1)).toBe("later");
  expect(lines[0]?.line?.length).toBeLessThan(1_100);
  expect(lines.length).toBeLessThan(60);
  expect(lines.find((entry) => entry.lines !== undefined)?.lines).toBeGreaterThan(9_900);
  expect(output.tail().length).toBe(20);
});
