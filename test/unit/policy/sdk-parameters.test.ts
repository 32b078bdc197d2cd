import { expect, test } from "vitest";
import { judgeCall } from "../../../src/policy/judge.ts";
import { policyWith } from "./policy.ts";

/** What the SDK sends whatever its program asks for. */
const always = {
  sessionId: "s",
  toolFilterPrecedence: "excluded",
  requestPermission: true,
  requestUserInput: false,
  requestElicitation: false,
  requestExitPlanMode: false,
  requestAutoModeSwitch: false,
  hooks: false,
  includeSubAgentStreamingEvents: true,
  envValueMode: "direct",
};

/** What its mode "empty" adds. */
const emptyMode = {
  isExperimentalMode: false,
  enableSessionTelemetry: false,
  mcpOAuthTokenStorage: "in-memory",
  skipEmbeddingRetrieval: true,
  embeddingCacheStorage: "in-memory",
  enableOnDemandInstructionDiscovery: false,
  enableFileHooks: false,
  enableHostGitOperations: false,
  enableSessionStore: false,
  enableSkills: false,
  memory: { enabled: false },
  customAgentsLocalOnly: true,
  availableTools: ["custom:*"],
  systemMessage: { mode: "customize", sections: { environment_context: { action: "remove" } } },
};

test.each(["session.create", "session.resume"])(
  "%s of an unmodified SDK program passes in both modes",
  (method) => {
    const { toolFilterPrecedence: _precedence, envValueMode: _mode, ...kept } = always;
    expect(judgeCall(policyWith(), method, always).params).toEqual(kept);
    const { availableTools, systemMessage } = emptyMode;
    expect(judgeCall(policyWith(), method, { ...always, ...emptyMode }).params).toEqual({
      ...kept,
      availableTools,
      systemMessage,
    });
  },
);

test("the options that mode empty sends pass, and the node decides them", () => {
  const patch = {
    skipCustomInstructions: true,
    customAgentsLocalOnly: true,
    coauthorEnabled: false,
    manageScheduleEnabled: false,
    installedPlugins: [],
    includedBuiltinSkills: [],
  };
  expect(judgeCall(policyWith(), "session.options.update", { sessionId: "s", ...patch }).params).toEqual({
    sessionId: "s",
  });
});
