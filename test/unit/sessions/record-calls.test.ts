import { describe, expect, it } from "vitest";
import type { JsonObject } from "../../../src/kernel/json.ts";
import {
  callsOnWake,
  emptyRecord,
  recordAfterCall,
  recordAfterEvent,
  type SessionRecord,
} from "../../../src/sessions/record.ts";
import { createPathApprovals } from "../../../src/sessions/record-approvals.ts";

const recordOf = (calls: readonly (readonly [string, JsonObject])[], from = emptyRecord): SessionRecord =>
  calls.reduce((record, [method, params]) => recordAfterCall(record, method, params, {}), from);

const approved = (record: SessionRecord, approval: JsonObject): SessionRecord =>
  recordAfterEvent(record, "permission.completed", {
    requestId: "r",
    result: { kind: "approved-for-session", approval },
  });

const begun = recordAfterEvent(emptyRecord, "user.message", {});
const add = "session.permissions.paths.add";
const rules = "session.permissions.modifyRules";
const all = "session.permissions.setApproveAll";
const configure = "session.permissions.configure";

describe("calls that are made again", () => {
  it("are each made once, as they were made last", () => {
    const record = recordOf([
      [add, { path: "/a" }],
      [all, { enabled: true }],
      [add, { path: "/b" }],
      [add, { path: "/a" }],
      [all, { enabled: false }],
    ]);
    expect(callsOnWake(record)).toEqual([
      { method: add, params: { path: "/b" } },
      { method: add, params: { path: "/a" } },
      { method: all, params: { enabled: false } },
    ]);
  });

  it("has a name that its client gave, known as such", () => {
    const named = recordAfterCall(emptyRecord, "session.name.set", { name: "x" }, {});
    expect(named).toEqual({ ...emptyRecord, facts: { named: true } });
    expect(recordAfterCall(named, "session.name.set", { name: "y" }, {})).toBe(named);
  });

  it("are not those that failed, that only read, or that the session's files tell", () => {
    for (const method of ["session.mode.set", "session.plan.update", "session.tasks.list"])
      expect(recordAfterCall(begun, method, { name: "x" }, {})).toBe(begun);
    expect(recordAfterCall(emptyRecord, add, { path: "/a" }, { success: false })).toBe(emptyRecord);
  });

  it("end with what takes them back", () => {
    const allowing = recordOf([
      [all, { enabled: true }],
      [configure, { approveAllToolPermissionRequests: true, urls: { unrestricted: true } }],
    ]);
    const kept = [{ method: configure, params: { urls: { unrestricted: true } } }];
    expect(recordOf([["session.permissions.setMode", { mode: "manual" }]], allowing).calls).toEqual(kept);
    expect(recordAfterEvent(allowing, "session.permissions_changed", { mode: "manual" }).calls).toEqual(kept);
    const primary = recordOf([["session.permissions.paths.updatePrimary", { path: "/a" }]]);
    expect(recordOf([["session.metadata.setWorkingDirectory", {}]], primary).calls).toEqual([]);
  });

  it("stop an MCP server once its configuration is loaded, unless it was started again", () => {
    const stopped = recordOf([["session.mcp.stopServer", { serverName: "a" }]]);
    expect(callsOnWake(stopped).map(({ method }) => method)).toEqual([
      "session.mcp.list",
      "session.mcp.stopServer",
    ]);
    expect(recordOf([["session.mcp.startServer", { serverName: "b" }]], stopped)).toBe(stopped);
    expect(recordOf([["session.mcp.startServer", { serverName: "a" }]], stopped).calls).toEqual([]);
  });

  it("are bounded, the oldest first forgotten", () => {
    const many = recordOf(Array.from({ length: 510 }, (_, i) => [add, { path: `/${i}` }] as const));
    expect(many.calls).toHaveLength(500);
    expect(many.calls[0]?.params).toEqual({ path: "/10" });
    const large = recordOf([
      [add, { path: "/a" }],
      ["session.agent.setPrompt", { id: "a", prompt: "x".repeat(130_980) }],
    ]);
    expect(large.calls.map(({ method }) => method)).toEqual(["session.agent.setPrompt"]);
    expect(recordOf([["session.agent.setPrompt", { id: "a", prompt: "x".repeat(132_000) }]]).calls).toEqual(
      [],
    );
  });
});

describe("approvals for the session", () => {
  it.each([
    [{ kind: "custom-tool", toolName: "foo" }, [{ kind: "custom-tool", argument: "foo" }]],
    [{ kind: "write" }, [{ kind: "write", argument: null }]],
    [
      { kind: "commands", commandIdentifiers: ["ls", "git add"] },
      [
        { kind: "shell", argument: "ls" },
        { kind: "shell", argument: "git add" },
      ],
    ],
    [{ kind: "mcp", serverName: "s", toolName: "t" }, [{ kind: "s", argument: "t" }]],
    [{ kind: "mcp", serverName: "s", toolName: null }, [{ kind: "s", argument: null }]],
  ] as const)("become the rules by which the runtime remembers them: %j", (approval, made) => {
    expect(callsOnWake(approved(emptyRecord, approval))).toEqual([
      { method: rules, params: { scope: "session", add: made }, approved: true },
    ]);
  });

  it.each([
    { kind: "approved" },
    { kind: "denied-interactively-by-user" },
    { kind: "approved-for-session", approval: { kind: "memory" } },
    { kind: "approved-for-session" },
  ])("are only those that are for the session and of a known kind: %j", (result) => {
    const record = recordAfterEvent(emptyRecord, "permission.completed", { requestId: "r", result });
    expect(record.calls).toEqual([]);
  });

  it("are one call however many, apart from rules of the client's own", () => {
    let record = approved(emptyRecord, { kind: "write" });
    record = approved(record, { kind: "custom-tool", toolName: "foo" });
    record = recordOf([[rules, { scope: "session", add: [{ kind: "shell", argument: "ls" }] }]], record);
    expect(callsOnWake(record).map(({ approved }) => approved)).toEqual([true, undefined]);
    expect(recordOf([[rules, { scope: "location", add: [{ kind: "write" }] }]], record)).toBe(record);
  });

  it("end when they are taken back", () => {
    const record = approved(approved(emptyRecord, { kind: "write" }), { kind: "read" });
    const without = recordOf(
      [[rules, { scope: "session", remove: [{ kind: "write", argument: null }] }]],
      record,
    );
    expect(callsOnWake(without).at(-1)?.params).toEqual({
      scope: "session",
      remove: [{ kind: "write", argument: null }],
    });
    expect(recordOf([[rules, { scope: "session", removeAll: true }]], without).calls).toEqual([]);
    expect(recordOf([["session.permissions.resetSessionApprovals", {}]], record).calls).toEqual([]);
  });

  it("of a path add the paths that were asked for", () => {
    const fold = createPathApprovals();
    const asks = (requestId: string, kind: string) =>
      fold(emptyRecord, "permission.requested", { requestId, promptRequest: { kind, paths: ["/a", "/b"] } });
    const ends = (requestId: string, kind: string) =>
      fold(emptyRecord, "permission.completed", { requestId, result: { kind } });
    asks("1", "path");
    expect(ends("1", "approved-for-session").calls.map(({ params }) => params.path)).toEqual(["/a", "/b"]);
    expect(ends("1", "approved-for-session")).toBe(emptyRecord);
    asks("2", "path");
    expect(ends("2", "approved")).toBe(emptyRecord);
    asks("3", "commands");
    expect(ends("3", "approved-for-session")).toBe(emptyRecord);
  });
});
