import { callbackVerdicts } from "./callbacks.ts";
import { globalVerdicts } from "./global.ts";
import { sessionDeniedVerdicts } from "./session-denied.ts";
import { sessionMcpVerdicts } from "./session-mcp.ts";
import { sessionOpeningVerdicts } from "./session-opening.ts";
import { sessionStateVerdicts } from "./session-state.ts";
import { sessionTurnVerdicts } from "./session-turns.ts";
import type { Verdicts } from "./verdict.ts";

/** Every hand-kept verdict. No method stands in two files; a test of the script sees to it. */
export const verdictFiles: readonly Verdicts[] = [
  globalVerdicts,
  sessionOpeningVerdicts,
  sessionTurnVerdicts,
  sessionStateVerdicts,
  sessionMcpVerdicts,
  sessionDeniedVerdicts,
  callbackVerdicts,
];
