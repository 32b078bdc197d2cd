import fc from "fast-check";
import { expect, test } from "vitest";
import { judgeCall } from "../../../src/policy/judge.ts";
import { allowedTools, keepAllowedTools, narrowTools } from "../../../src/policy/tools.ts";
import { matchesAny } from "../../../src/policy/wildcard.ts";
import { policyWith } from "./policy.ts";

const place = { method: "session.create", parameter: "availableTools", opens: "tools" } as const;
const narrow = (allowed: readonly string[], asked?: unknown) => narrowTools(allowed, asked, place);
const custom = ["custom:*"];
const mixed = ["custom:*", "builtin:ask_user", "mcp:github-*"];

test("who asks for nothing in particular gets the policy's list", () => {
  expect(narrow(mixed)).toEqual(mixed);
  expect(narrow(mixed, null)).toEqual(mixed);
  expect(narrow(["*"])).toEqual(["builtin:*", "mcp:*", "custom:*"]);
});

test("an empty list stays empty", () => expect(narrow(mixed, [])).toEqual([]));

test("names without a source become those that the policy allows", () => {
  expect(narrow(custom, ["bash", "view"])).toEqual(["custom:bash", "custom:view"]);
  expect(narrow(mixed, ["ask_user"])).toEqual(["builtin:ask_user", "custom:ask_user"]);
  expect(narrow(["*"], ["x"])).toEqual(["builtin:x", "mcp:x", "custom:x"]);
});

test("wildcards are narrowed to the policy's patterns of their source", () => {
  expect(narrow(mixed, ["builtin:*", "custom:*"])).toEqual(["builtin:ask_user", "custom:*"]);
});

test.each(["builtin:bash", "builtin:*", "mcp:*", "*", "custom:f*"])(
  "%s outside of the policy is refused by name",
  (tool) => {
    expect(() => narrow(custom, ["custom:a", tool])).toThrow(tool);
  },
);

test.each(["bash", [1], [""], { a: 1 }])("%j is no list of tools", (asked) => {
  expect(() => narrow(custom, asked)).toThrow("list of tool names");
});

test("what was recorded under a wider policy is left out, not refused", () => {
  expect(keepAllowedTools(custom, ["builtin:bash", "custom:a", 7])).toEqual(["custom:a"]);
  expect(keepAllowedTools(custom, undefined)).toEqual(custom);
});

test("options.update narrows in the same way", () => {
  const update = (availableTools: unknown) =>
    judgeCall(policyWith(), "session.options.update", {
      sessionId: "s",
      availableTools,
      toolFilterPrecedence: "available",
    }).params;
  expect(update(["foo"])).toEqual({ sessionId: "s", availableTools: ["custom:foo"] });
  expect(update([])).toEqual({ sessionId: "s", availableTools: [] });
  expect(() => update(["builtin:bash"])).toThrow("builtin:bash");
});

test("nothing that comes out is outside of the policy", () => {
  const name = fc.constantFrom("a", "b", "ask_user", "*", "builtin:a", "x*", "custom:b", "");
  const tool = fc
    .tuple(fc.constantFrom("builtin:", "mcp:", "custom:", ""), name)
    .map((parts) => parts.join(""));
  fc.assert(
    fc.property(fc.array(tool), fc.array(tool), (allowed, asked) => {
      const patterns = allowedTools(allowed);
      for (const one of keepAllowedTools(allowed, asked)) {
        expect(patterns.includes(one) || (!one.includes("*") && matchesAny(patterns, one))).toBe(true);
      }
    }),
  );
});
