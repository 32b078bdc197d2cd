import type { Runtime } from "../fleet/fleet.ts";
import { logPath } from "./history-ids.ts";
import type { Root } from "./scan.ts";

/** Lock files of a runtime, what it is just about to put in a file's place, and SQLite's index of its journal, which whoever opens it makes anew. */
export const isPassing = (path: string): boolean =>
  /(^|\/)(inuse\.[^/]*\.lock|\.workspace-fork\.lock|[^/]*\.tmp\.[0-9a-f-]{36}|[^/]*-shm)$/.test(path);

/** The one file of a session to which its runtime only adds lines. */
export const isSessionLog = (path: string): boolean => path === logPath;

/** Where a runtime has the files of a session. */
export const sessionRoots = (runtime: Runtime, session: string): readonly Root[] => [
  {
    base: runtime.homeDirectory,
    path: [".copilot", "session-state", session],
    prefix: "",
    ignore: isPassing,
    isLog: isSessionLog,
  },
];

/** Parts of a home that are sessions' own, or that a runtime makes again. */
const notOfTheUnit = ["session-state", "logs", "pkg", "cache", "tmp", "ide", "crash-reports"].map(
  (name) => `.copilot/${name}`,
);

/** Where a runtime writes the tokens of sign-ins to MCP servers. Secrets do not leave its box, and its next one asks anew. */
const signIns = ".copilot/mcp-oauth-config";

const isNoState = (path: string): boolean =>
  path === signIns ||
  notOfTheUnit.some((one) => path === one || path.startsWith(`${one}/`)) ||
  path === ".cache" ||
  /^\.copilot\/(session-store\.db|data\.db)/.test(path) ||
  isPassing(path);

/** What its users have there is theirs to change, whatever it is called. */
const nothing = (): boolean => false;

/** Where a runtime has what belongs to its unit: its home, and its working directory if that is its own. */
export const unitRoots = (runtime: Runtime): readonly Root[] => [
  { base: runtime.homeDirectory, path: [], prefix: "home/", ignore: isNoState, isLog: nothing },
  ...(runtime.ownsWorkingDirectory
    ? [{ base: runtime.workingDirectory, path: [], prefix: "work/", ignore: nothing, isLog: nothing }]
    : []),
];
