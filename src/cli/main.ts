#!/usr/bin/env node
import { nodeProblem } from "./node-version.ts";

const problem = nodeProblem(process.versions.node);
if (problem === undefined) {
  // Only now: what this imports loads native code, which ends an old Node with a segmentation fault.
  import("./program.ts").then(({ runProgram }) => runProgram(process.argv));
} else {
  console.error(`squadron: ${problem}`);
  process.exitCode = 1;
}
