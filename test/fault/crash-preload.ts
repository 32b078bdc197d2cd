/**
 * Loaded before a node (`--import`): plants a crash at a named point of commit and wake, or a stop (SIGSTOP) at one when
 * a file tells so, which is removed then. The points are calls of `at` in src/sessions/session-state.ts, which does nothing in a node; its default is replaced here.
 */
import { rmSync, statSync } from "node:fs";
import { registerHooks } from "node:module";

const module = "/src/sessions/session-state.ts";
const seam = "at = () => undefined";
const { FAULT_CRASH_POINT: point, FAULT_CRASH_TIME: time } = process.env;
const { FAULT_STOP_POINT: stopPoint, FAULT_STOP_FILE: stopFile = "" } = process.env;

let passed = 0;
Object.assign(globalThis, {
  faultPoint(name: string): void {
    if (name === point && ++passed === Number(time)) process.kill(process.pid, "SIGKILL");
    if (name !== stopPoint || statSync(stopFile, { throwIfNoEntry: false }) === undefined) return;
    rmSync(stopFile);
    process.kill(process.pid, "SIGSTOP");
  },
});

registerHooks({
  load(url, context, nextLoad) {
    const loaded = nextLoad(url, context);
    if (!url.endsWith(module)) return loaded;
    const source = String(loaded.source);
    if (!source.includes(seam)) throw new Error(`${module} has no "${seam}" to plant a crash at.`);
    return { ...loaded, source: source.replace(seam, "at = globalThis.faultPoint") };
  },
});
