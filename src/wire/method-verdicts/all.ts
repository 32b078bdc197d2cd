import { callbackVerdicts } from "./callbacks.ts";
import { globalVerdicts } from "./global.ts";
import { globalUnlessAllVerdicts } from "./global-unless-all.ts";
import { sessionDeniedVerdicts } from "./session-denied.ts";
import { sessionMcpVerdicts } from "./session-mcp.ts";
import { sessionOpeningVerdicts } from "./session-opening.ts";
import { sessionStateVerdicts } from "./session-state.ts";
import { sessionTurnVerdicts } from "./session-turns.ts";
import { sessionUnlessAllVerdicts } from "./session-unless-all.ts";
import type { Verdicts } from "./verdict.ts";

/** Every hand-kept verdict. No method stands in two files; a test of the script sees to it. */
export const verdictFiles: readonly Verdicts[] = [
  globalVerdicts,
  globalUnlessAllVerdicts,
  sessionOpeningVerdicts,
  sessionTurnVerdicts,
  sessionStateVerdicts,
  sessionMcpVerdicts,
  sessionDeniedVerdicts,
  sessionUnlessAllVerdicts,
  callbackVerdicts,
];
