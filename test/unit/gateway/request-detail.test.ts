import { expect, it } from "vitest";
import { boundedDetail } from "../../../src/gateway/request-detail.ts";

const sizeOf = (detail: unknown): number => JSON.stringify(boundedDetail(detail)).length;

it("keeps what is asked as it is, and cuts what nobody can keep, however it is made", () => {
  const asked = { toolName: "t", arguments: { text: "x", list: [1, null, true, { deep: "er" }] } };
  expect(boundedDetail(asked)).toEqual(asked);

  expect(sizeOf({ text: "x".repeat(10_000_000) })).toBeLessThan(300_000);
  expect(sizeOf({ ["k".repeat(10_000_000)]: 1 })).toBeLessThan(300_000);
  expect(sizeOf(Array.from({ length: 1_000_000 }, () => 1))).toBeLessThan(300_000);
  const depth = 50_000;
  expect(sizeOf(JSON.parse("[".repeat(depth) + "]".repeat(depth)))).toBeLessThan(1_000);
  expect(sizeOf(JSON.parse(`${'{"a":'.repeat(depth)}1${"}".repeat(depth)}`))).toBeLessThan(1_000);
});
