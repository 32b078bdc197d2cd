import { describe, expect, test } from "vitest";
import { enforceSessionParameters, optionsPatch } from "../../../src/policy/session-parameters.ts";
import { policyWith } from "./policy.ts";

const policy = policyWith();
const enforce = (params: Record<string, unknown> = {}) => enforceSessionParameters(policy, params);
const removed = { environment_context: { action: "remove" } };

test("the node's parameters win over the client's", () => {
  const asked = {
    enableSkills: true,
    enableFileHooks: true,
    memory: { enabled: true },
    envValueMode: "indirect",
  };
  expect(enforce({ ...asked, streaming: true, toolFilterPrecedence: "available" })).toMatchObject({
    enableSkills: false,
    enableFileHooks: false,
    enableSessionStore: false,
    enableHostGitOperations: false,
    enableConfigDiscovery: false,
    memory: { enabled: false },
    envValueMode: "direct",
    toolFilterPrecedence: "excluded",
    availableTools: ["custom:*"],
    streaming: true,
  });
});

test("infinite sessions are the policy's unless the client says otherwise", () => {
  expect(enforce().infiniteSessions).toEqual({ enabled: true, backgroundCompactionThreshold: 0.8 });
  expect(enforce({ infiniteSessions: { enabled: false } }).infiniteSessions).toEqual({ enabled: false });
});

test("enforcing twice changes nothing more", () => {
  const once = enforce({ availableTools: ["foo"], systemMessage: { content: "x" } });
  expect(enforce(once)).toEqual(once);
});

describe("the section that describes the host", () => {
  test.each([
    [undefined, { mode: "customize", sections: removed }],
    [{ content: "x" }, { mode: "customize", content: "x", sections: removed }],
    [
      { mode: "append", content: "x" },
      { mode: "customize", content: "x", sections: removed },
    ],
    [
      { mode: "customize", content: "x", sections: { tone: { action: "remove" } } },
      { mode: "customize", content: "x", sections: { tone: { action: "remove" }, ...removed } },
    ],
  ])("%j loses it", (supplied, expected) => {
    expect(enforce({ systemMessage: supplied }).systemMessage).toEqual(expected);
  });

  test.each([
    { mode: "replace", content: "x" },
    { mode: "customize", sections: { environment_context: { action: "transform" } } },
  ])("%j has taken control of it", (supplied) => {
    expect(enforce({ systemMessage: supplied }).systemMessage).toEqual(supplied);
  });

  test("models of a client's own provider lose it too", () => {
    const models = enforce({
      models: [{ id: "a", systemMessage: { mode: "append", content: "x" } }, { id: "b" }],
    }).models;
    expect(models).toEqual([
      { id: "a", systemMessage: { mode: "customize", content: "x", sections: removed } },
      { id: "b" },
    ]);
  });
});

test("the patch is the SDK's of mode empty, and narrows recorded tools again", () => {
  expect(optionsPatch(policy)).toEqual({
    skipCustomInstructions: true,
    customAgentsLocalOnly: true,
    coauthorEnabled: false,
    manageScheduleEnabled: false,
    installedPlugins: [],
    includedBuiltinSkills: [],
  });
  const patch = optionsPatch(policy, { availableTools: ["builtin:bash", "custom:a"] });
  expect(patch).toMatchObject({ availableTools: ["custom:a"], toolFilterPrecedence: "excluded" });
});
