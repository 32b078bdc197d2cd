import { describe, expect, it } from "vitest";
import { ago, plain, table } from "../../../src/cli/terminal.ts";

describe("what is printed", () => {
  it("is aligned, without lines or trailing blanks", () => {
    expect(
      table(
        ["A", "LONGER"],
        [
          ["one", "1"],
          ["three", ""],
        ],
      ),
    ).toBe("A      LONGER\none    1\nthree");
  });

  it("takes nothing from clients that would steer the terminal", () => {
    expect(plain("a\u001b[2Jb\r\nc\u202ed\u009b1me")).toBe("a�[2Jb��c�d�1me");
    expect(plain("żółw 東京 🦑")).toBe("żółw 東京 🦑");
  });

  it.each([
    [null, "never"],
    ["2026-01-01T00:00:00.000Z", "0 s ago"],
    ["2025-12-31T23:58:30.000Z", "90 s ago"],
    ["2025-12-31T23:00:00.000Z", "60 min ago"],
    ["2025-12-31T01:00:00.000Z", "23 h ago"],
    ["2025-12-01T00:00:00.000Z", "31 d ago"],
    ["2026-01-01T00:00:05.000Z", "0 s ago"],
  ])("tells how long ago %s was", (at, expected) => {
    expect(ago(at, Date.parse("2026-01-01T00:00:00.000Z"))).toBe(expected);
  });
});
