import { describe, expect, it } from "vitest";
import type { JsonObject } from "../../../src/kernel/json.ts";
import {
  callsOnWake,
  emptyRecord,
  parseRecord,
  recordAfterCall,
  recordAfterEvent,
  recordAfterLeaving,
  recordAfterModel,
  recordAfterOptions,
  recordAfterProviders,
  recordAfterResume,
  recordIn,
  recordWithoutDirectory,
  type SessionRecord,
} from "../../../src/sessions/record.ts";

/** Of a session in which something has been said. */
const withParameters = (parameters: JsonObject): SessionRecord =>
  recordAfterEvent({ ...emptyRecord, parameters }, "user.message", {});

describe("a change of model in the record", () => {
  const chosen = withParameters({ model: "one", reasoningEffort: "high", clientName: "c" });

  it("undoes what options said of the model before", () => {
    const record = recordAfterOptions(chosen, { model: "two", verbosity: "low" });
    const { parameters, options } = recordAfterEvent(record, "session.model_change", { newModel: "three" });
    expect(parameters).toEqual({ model: "three", reasoningEffort: "high", clientName: "c" });
    expect(options).toEqual({ verbosity: "low" });
  });

  it.each([
    [{ reasoningEffort: "low", previousReasoningEffort: "high" }, "low"],
    [{ previousReasoningEffort: "high", reasoningEffort: null }, undefined],
    [{ reasoningEffort: null }, "high"],
    [{}, "high"],
  ])("takes the reasoning effort with it: %j", (change, effort) => {
    const record = recordAfterEvent(chosen, "session.model_change", { newModel: "two", ...change });
    expect(record.parameters).toEqual({
      model: "two",
      clientName: "c",
      ...(effort !== undefined && { reasoningEffort: effort }),
    });
  });

  it("takes tier, summary and verbosity with it", () => {
    const record = recordAfterEvent(withParameters({ contextTier: "long_context" }), "session.model_change", {
      newModel: "two",
      contextTier: null,
      reasoningSummary: "detailed",
      verbosity: "low",
    });
    expect(record.parameters).toEqual({ model: "two", reasoningSummary: "detailed" });
    expect(record.options).toEqual({ verbosity: "low" });
  });

  it("of a subagent is none of the session", () => {
    expect(recordAfterEvent(chosen, "session.model_change", { newModel: "two" }, "agent-1")).toBe(chosen);
  });

  it("is taken back by what the runtime says after its history was cut", () => {
    expect(recordAfterModel(chosen, { modelId: "zero" }).parameters).toEqual({
      model: "zero",
      clientName: "c",
    });
    expect(recordAfterModel(chosen, {})).toBe(chosen);
  });
});

describe("settings", () => {
  it("keep skills and MCP servers switched off and on", () => {
    let record = withParameters({ disabledSkills: ["a"], disabledMcpServers: ["m"] });
    record = recordAfterCall(record, "session.skills.disable", { name: "b" }, null);
    record = recordAfterCall(record, "session.skills.enable", { name: "a" }, null);
    record = recordAfterCall(record, "session.mcp.enable", { serverName: "m" }, {});
    expect(record.parameters).toEqual({ disabledSkills: ["b"], disabledMcpServers: [] });
    expect(recordAfterCall(record, "session.skills.disable", { name: "b" }, null)).toBe(record);
  });

  it("count more than an option that was given before", () => {
    const record = recordAfterOptions(withParameters({ disabledSkills: ["a"] }), { disabledSkills: ["b"] });
    const { parameters, options } = recordAfterCall(record, "session.skills.disable", { name: "c" }, null);
    expect(parameters).toEqual({ disabledSkills: ["b", "c"] });
    expect(options).toEqual({});
  });

  it("keep limits as a parameter, since as an option they are written into the history each time", () => {
    const limited = recordAfterOptions(emptyRecord, {
      sessionLimits: { maxAiCredits: 50 },
      verbosity: "low",
    });
    expect(limited.parameters).toEqual({ sessionLimits: { maxAiCredits: 50 } });
    expect(limited.options).toEqual({ verbosity: "low" });
    expect(recordAfterOptions(limited, { sessionLimits: null }).parameters).toEqual({});
  });

  it.each(["subagent.selected", "subagent.deselected"])("leave the agent to the history after %s", (type) => {
    const record = withParameters({ agent: "first" });
    expect(recordAfterEvent(record, type, {}).parameters).toEqual({});
    expect(recordAfterEvent(record, type, {}, "agent-1")).toBe(record);
  });

  it("keep providers that were added later, beside those of create", () => {
    const record = withParameters({ providers: [{ name: "a" }], model: "a/one" });
    const added = recordAfterProviders(record, { providers: [{ name: "b" }], models: [{ id: "b/two" }] });
    expect(added.parameters).toEqual({
      model: "a/one",
      providers: [{ name: "a" }, { name: "b" }],
      models: [{ id: "b/two" }],
    });
  });
});

describe("the directory of a session", () => {
  const first = { home: "/boxes/1/home", work: "/boxes/1/work" };
  const second = { home: "/boxes/2/home", work: "/boxes/2/work" };

  it("is a parameter, whatever an option said before", () => {
    const record = recordAfterOptions(recordIn(emptyRecord, first), { workingDirectory: "/srv/a" });
    const { parameters, options, facts } = recordAfterEvent(record, "session.context_changed", {
      cwd: "/srv/b",
    });
    expect(parameters).toEqual({ workingDirectory: "/srv/b" });
    expect(options).toEqual({});
    expect(facts).toEqual({ cwd: "/srv/b" });
  });

  it.each(["/boxes/1/work", "/boxes/1/work/sub"])("is another one in the next runtime: %s", (cwd) => {
    const record = recordAfterEvent(recordIn(emptyRecord, first), "session.start", { context: { cwd } });
    const next = recordIn(record, second);
    const moved = cwd.replace("1", "2");
    expect(next.parameters).toEqual({ workingDirectory: moved });
    expect(next.facts).toEqual({ cwd: moved });
    expect(recordIn(next, second)).toBe(next);
    expect(recordWithoutDirectory(next).parameters).toEqual({});
  });

  it("moves with the paths of calls, and no other text does", () => {
    let record = recordIn(withParameters({ systemMessage: { content: "/boxes/1/work/x" } }), first);
    for (const path of ["/boxes/1/work/sub", "/boxes/1/workshop", "/srv"])
      record = recordAfterCall(record, "session.permissions.paths.add", { path }, { success: true });
    const next = recordIn(record, second);
    expect(next.calls.map(({ params }) => params.path)).toEqual([
      "/boxes/2/work/sub",
      "/boxes/1/workshop",
      "/srv",
    ]);
    expect(next.parameters).toEqual(record.parameters);
  });
});

it("a client that resumes keeps what it does not name of model, credentials and directory", () => {
  const record = withParameters({ model: "one", workingDirectory: "/srv", agent: "a", clientName: "old" });
  expect(recordAfterResume(record, { clientName: "new" }).parameters).toEqual({
    model: "one",
    workingDirectory: "/srv",
    clientName: "new",
  });
});

it("nothing made for a session's memory outlives its last client", () => {
  const record = recordAfterCall(emptyRecord, "session.permissions.setApproveAll", { enabled: true }, {});
  expect(callsOnWake(record)).toHaveLength(1);
  expect(callsOnWake(recordAfterLeaving(record))).toEqual([]);
});

describe("before anything is said", () => {
  const fresh: SessionRecord = { ...emptyRecord, parameters: { agent: "a", workingDirectory: "/srv/a" } };
  const changed = (
    [
      ["session.mode.set", { mode: "plan" }],
      ["session.mode.set", { mode: "autopilot" }],
      ["session.agent.select", { name: "b" }],
      ["session.agent.deselect", {}],
    ] as const
  ).reduce((record, [method, params]) => recordAfterCall(record, method, params, {}), fresh);

  it("calls are made again that a history would tell", () => {
    expect(callsOnWake(changed)).toEqual([
      { method: "session.mode.set", params: { mode: "autopilot" } },
      { method: "session.agent.deselect", params: {} },
    ]);
    expect(parseRecord(JSON.stringify(changed))).toEqual(changed);
    expect(recordAfterEvent(changed, "subagent.deselected", {}).parameters).toEqual(fresh.parameters);
  });

  it("lasts until the first message", () => {
    const begun = recordAfterEvent(changed, "user.message", {});
    expect(callsOnWake(begun)).toEqual([]);
    expect(begun.parameters).toEqual({ workingDirectory: "/srv/a" });
    expect(recordAfterCall(begun, "session.mode.set", { mode: "plan" }, {})).toBe(begun);
  });
});

describe("a stored record", () => {
  it("comes back as it was written", () => {
    let record = recordIn(withParameters({ model: "one" }), { home: "/h", work: "/w" });
    record = recordAfterCall(record, "session.permissions.paths.add", { path: "/srv" }, {});
    record = recordAfterEvent(record, "permission.completed", {
      result: { kind: "approved-for-session", approval: { kind: "write" } },
    });
    expect(parseRecord(JSON.stringify(record))).toEqual(record);
  });

  it.each([
    ["no object", "[]"],
    ["an old one", '{"parameters":{},"options":{},"facts":{}}'],
    [
      "calls that are none",
      '{"calls":[1,{"method":"session.shell.exec","params":{}},{"method":"x"}],"places":4}',
    ],
  ])("that is %s is one without calls", (_what, text) => {
    const { unwritten: _none, ...begun } = emptyRecord;
    expect(parseRecord(text)).toEqual(text === "[]" ? emptyRecord : begun);
  });
});
