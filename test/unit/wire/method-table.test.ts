import { describe, expect, test } from "vitest";
import {
  buildTable,
  type Inputs,
  readInputs,
  renderDocs,
  renderTable,
} from "../../../scripts/method-table.ts";
import { sdkUse } from "../../../scripts/method-table-sources.ts";
import { methodEntries, methodEntry } from "../../../src/wire/method-table.ts";
import type { Verdict, Verdicts } from "../../../src/wire/method-verdicts/verdict.ts";

const inputs = readInputs();
const problemsOf = (changed: Partial<Inputs>) => buildTable({ ...inputs, ...changed }).problems;
const all: Verdicts = Object.assign({}, ...inputs.verdicts);

const without = (method: string): Verdicts =>
  Object.fromEntries(Object.entries(all).filter(([name]) => name !== method));
const changed = (method: string, change: (verdict: Verdict) => Verdict): Verdicts => {
  const verdict = all[method];
  if (verdict === undefined) throw new Error(`${method} has no verdict.`);
  return { ...all, [method]: change(verdict) };
};

describe("the table", () => {
  test("agrees with the installed schema and SDK", () => {
    const { entries, problems } = buildTable(inputs);
    expect(problems).toEqual([]);
    expect(methodEntries()).toEqual(entries);
  });

  test("knows every method of the schema, and each once", () => {
    for (const method of inputs.schema.keys()) expect(methodEntry(method)?.method).toBe(method);
    expect(new Set(methodEntries().map(({ method }) => method)).size).toBe(methodEntries().length);
  });

  test("has a reason for every verdict and every parameter that is not passed", () => {
    for (const { reason, params } of methodEntries()) {
      expect(reason).toMatch(/\S.*[.]$/);
      for (const verdict of Object.values(params))
        if ("reason" in verdict) expect(verdict.reason).toMatch(/\S.*[.]$/);
    }
  });

  test("finds nothing by a name that every object has", () => {
    for (const name of ["constructor", "__proto__", "toString"]) expect(methodEntry(name)).toBeUndefined();
  });

  test("knows where session ids stand", () => {
    expect(methodEntry("sessions.fork")?.ids).toEqual({
      params: ["sessionId"],
      result: ["sessionId"],
      events: [],
    });
    expect(methodEntry("sessions.bulkDelete")?.ids.params).toEqual(["sessionIds[]"]);
    expect(methodEntry("session.create")?.ids.result).toEqual(["sessionId", "nativeSessionId"]);
    expect(methodEntry("session.eventLog.read")?.ids.events).toEqual(["events"]);
    for (const { method, scope, verdict, withAll, ids } of methodEntries()) {
      if (scope === "session" && (verdict !== "deny" || withAll !== undefined))
        expect(ids.params, method).toContain("sessionId");
    }
  });
});

describe("the script", () => {
  test("names a method that lost its verdict", () => {
    expect(problemsOf({ verdicts: [without("session.mode.get")] })).toEqual([
      "session.mode.get: has no verdict (parameters: sessionId)",
    ]);
  });

  test("names a parameter of the schema that lost its verdict", () => {
    const verdicts = [
      changed("session.mode.set", ({ params: { planModel: _gone, ...params }, ...rest }) => ({
        ...rest,
        params,
      })),
    ];
    expect(problemsOf({ verdicts })).toEqual(["session.mode.set: parameter planModel has no verdict"]);
  });

  test("names a parameter that only the SDK's source has", () => {
    const verdicts = [
      changed("session.create", ({ params: { cloud: _gone, ...params }, ...rest }) => ({ ...rest, params })),
    ];
    expect(problemsOf({ verdicts })).toEqual(["session.create: parameter cloud has no verdict"]);
  });

  test("names what exists no longer, twice, or without a reason", () => {
    const stale: Verdicts = { "session.gone": { verdict: "deny", reason: "x", params: {} } };
    expect(problemsOf({ verdicts: [all, stale] })).toEqual([
      "session.gone: has a verdict but exists no longer",
    ]);
    expect(problemsOf({ verdicts: [all, { ping: all.ping as Verdict }] })).toEqual([
      "ping: has two verdicts",
    ]);
    const verdicts = [
      changed("ping", (verdict) => ({
        ...verdict,
        reason: " ",
        params: { ...verdict.params, x: { kind: "allow" } },
      })),
    ];
    expect(problemsOf({ verdicts })).toEqual([
      "ping: its verdict has no reason",
      "ping: parameter x has a verdict but exists no longer",
    ]);
  });

  test("names what a new schema or SDK brings", () => {
    const method = {
      scope: "session",
      params: ["sessionId", "force"],
      ids: { params: [], result: [], events: [] },
    } as const;
    expect(problemsOf({ schema: new Map([...inputs.schema, ["session.new", method]]) })).toEqual([
      "session.new: has no verdict (parameters: sessionId, force)",
    ]);
    const sdk = { ...inputs.sdk, methods: new Set([...inputs.sdk.methods, "session.newer"]) };
    expect(problemsOf({ sdk })).toEqual([
      "session.newer: the SDK uses it, and neither the schema nor the supplement has it",
    ]);
  });

  test("names a method that cannot go where its verdict says", () => {
    const verdicts = [changed("session.shell.exec", (verdict) => ({ ...verdict, withAll: "unit" }))];
    expect(problemsOf({ verdicts })).toEqual([
      "session.shell.exec: names a session, so it goes to that one's runtime, not to the unit's",
    ]);
    expect(
      problemsOf({ verdicts: [changed("tools.list", (verdict) => ({ ...verdict, withAll: "allow" }))] }),
    ).toEqual(["tools.list: names no session, so it cannot go to one's runtime"]);
  });

  test("wants a verdict for the parameters of what only allow: all opens", () => {
    const verdicts = [
      changed("session.shell.exec", ({ params: { cwd: _gone, ...params }, ...rest }) => ({
        ...rest,
        params,
      })),
    ];
    expect(problemsOf({ verdicts })).toEqual(["session.shell.exec: parameter cwd has no verdict"]);
  });

  test("reads parameters out of the SDK's source", () => {
    const source = `await c.sendRequest("a.b", {
      ...await trace(this.x), one: f({ not: 1 }, "},{"), two, "three": [1, { no: 2 }],
      ...cond ? { four: true } : {}, ...y != null ? { five: y } : {}
    }); c.onRequest("cb", async () => 1); c.sendRequest("c.d", params);`;
    const use = sdkUse([source], { trace: ["six"] });
    expect([...use.methods]).toEqual(["a.b", "cb", "c.d"]);
    expect([...(use.params.get("a.b") ?? [])]).toEqual(["six", "one", "two", "three", "four", "five"]);
    expect(() => sdkUse(['sendRequest("a", { ...mystery() })'], {})).toThrow("mystery");
  });

  test("writes the same text for the same input", () => {
    const { entries } = buildTable(inputs);
    expect(renderTable(entries)).toBe(renderTable(buildTable(inputs).entries));
    expect(renderDocs(entries)).toContain("| `session.shell.exec` | all: session |");
    expect(renderDocs(entries)).toContain("| `runtime.shutdown` | deny |");
  });
});
