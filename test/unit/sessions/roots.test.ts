import { describe, expect, it } from "vitest";
import type { Runtime } from "../../../src/fleet/fleet.ts";
import { sessionRoots, unitRoots } from "../../../src/sessions/roots.ts";

const runtime = {
  homeDirectory: "/box/home",
  workingDirectory: "/box/work",
  ownsWorkingDirectory: true,
} as Runtime;

describe("the files of a unit", () => {
  const [home, work] = unitRoots(runtime);

  it.each([".copilot/settings.json", ".copilot/mcp-config.json", ".gitconfig", "notes/inuse.lock"])(
    "include %s",
    (path) => expect(home?.ignore(path)).toBe(false),
  );

  it.each([
    ".copilot/session-state",
    ".copilot/logs",
    ".copilot/session-store.db-wal",
    ".copilot/mcp-oauth-config",
    ".cache",
    ".copilot/inuse.12.lock",
  ])("leave out %s", (path) => expect(home?.ignore(path)).toBe(true));

  it("include all of its own working directory, and nothing of the operator's", () => {
    expect(work?.ignore("inuse.12.lock")).toBe(false);
    expect(unitRoots({ ...runtime, ownsWorkingDirectory: false })).toHaveLength(1);
  });
});

describe("the files of a session", () => {
  it("lie in its directory, and only the history is a log", () => {
    const [root] = sessionRoots(runtime, "id");
    expect(root).toMatchObject({ base: "/box/home", path: [".copilot", "session-state", "id"] });
    expect(["events.jsonl", "files/events.jsonl"].map((path) => root?.isLog(path))).toEqual([true, false]);
  });
});
