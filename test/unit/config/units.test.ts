import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { formatDuration, formatSize, parseDuration, parseSize } from "../../../src/kernel/units.ts";

describe("units", () => {
  it("reads durations as milliseconds", () => {
    expect(["500ms", "60s", "5m", "2h", "30d", "0s", "1 s"].map(parseDuration)).toEqual([
      500, 60_000, 300_000, 7_200_000, 2_592_000_000, 0, 1_000,
    ]);
  });

  it("reads sizes as bytes", () => {
    expect(["1B", "64KiB", "256MiB", "1GiB", "2TiB"].map(parseSize)).toEqual([
      1, 65_536, 268_435_456, 1_073_741_824, 2_199_023_255_552,
    ]);
  });

  it("refuses what has no unit, another unit, or is no whole positive number", () => {
    for (const text of [
      "60",
      "",
      "s",
      "-5s",
      "1.5h",
      "5 minutes",
      "5M",
      "1e3s",
      "5m ",
      "toString",
      "9constructor",
      `${"9".repeat(15)}d`,
    ]) {
      expect([text, parseDuration(text)]).toEqual([text, undefined]);
    }
    for (const text of ["256", "256MB", "256mib", "1.5GiB", "-1B", "9999999999TiB"]) {
      expect([text, parseSize(text)]).toEqual([text, undefined]);
    }
  });

  it("writes what it reads", () => {
    expect([formatDuration(300_000), formatDuration(90_000), formatSize(65_536), formatSize(0)]).toEqual([
      "5m",
      "90s",
      "64KiB",
      "0B",
    ]);
    fc.assert(
      fc.property(fc.nat({ max: 2 ** 31 }), (value) => {
        expect(parseDuration(formatDuration(value))).toBe(value);
        expect(parseSize(formatSize(value))).toBe(value);
      }),
    );
  });
});
