import type { StatePoint } from "../../src/sessions/session-state.ts";

/** Every named point of commit and wake; the type says when one is missing. */
const points: Readonly<Record<StatePoint, true>> = {
  "restore.begun": true,
  "restore.acquired": true,
  "restore.written": true,
  "commit.begun": true,
  "commit.read": true,
  "commit.stored": true,
};

export const crashPoints: readonly string[] = Object.keys(points);

const preload = ["--import", new URL("crash-preload.ts", import.meta.url).href];

/** Makes a node kill itself when it passes this point for the `time`-th time: options for its start. */
export const crashAt = (point: string, time: number) => ({
  env: { FAULT_CRASH_POINT: point, FAULT_CRASH_TIME: String(time) },
  nodeArguments: preload,
});

/** Makes a node stop itself (SIGSTOP) when it passes this point and the file is there: options for its start. */
export const stopAt = (point: StatePoint, file: string) => ({
  env: { FAULT_STOP_POINT: point, FAULT_STOP_FILE: file },
  nodeArguments: preload,
});
