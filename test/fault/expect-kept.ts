import { spawn } from "node:child_process";
import { fileURLToPath } from "node:url";
import { expect } from "vitest";
import type { ScenarioResult } from "./scenario.ts";

const soak = fileURLToPath(new URL("soak.ts", import.meta.url));

/**
 * Runs the short version of a scenario, as a process of its own like the long one, and expects that the node kept its
 * word. `FAULT_ROUNDS`, `FAULT_SEED` and `FAULT_CLIENTS` change it.
 */
export const expectKept = async (
  scenario: string,
  { rounds, clients }: { readonly rounds: number; readonly clients: number },
): Promise<ScenarioResult> => {
  const { FAULT_ROUNDS = String(rounds), FAULT_SEED = "1", FAULT_CLIENTS = String(clients) } = process.env;
  const sizes = ["--rounds", FAULT_ROUNDS, "--seed", FAULT_SEED, "--clients", FAULT_CLIENTS];
  const child = spawn(process.execPath, [soak, "--scenario", scenario, ...sizes], {
    // It ends when its channel to us does.
    stdio: ["ignore", "pipe", "pipe", "ipc"],
  });
  let stdout = "";
  let stderr = "";
  child.stdout?.setEncoding("utf8").on("data", (text: string) => {
    stdout += text;
  });
  child.stderr?.setEncoding("utf8").on("data", (text: string) => {
    stderr += text;
  });
  await new Promise((resolve, reject) => {
    child.once("error", reject);
    child.once("close", resolve);
  });
  if (stdout === "") throw new Error(`The scenario ${scenario} gave no result: ${stderr}`);
  const result = JSON.parse(stdout) as ScenarioResult;
  expect(result.violations, stderr).toEqual([]);
  expect(result.outcomes.answered ?? 0).toBeGreaterThan(clients);
  return result;
};
