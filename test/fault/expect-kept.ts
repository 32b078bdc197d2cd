import { expect } from "vitest";
import type { Scenario, ScenarioResult } from "./scenario.ts";

/** Runs the short version of a scenario and expects that the node kept its word. `FAULT_ROUNDS`, `FAULT_SEED` and `FAULT_CLIENTS` change it. */
export const expectKept = async (
  scenario: Scenario,
  { rounds, clients }: { readonly rounds: number; readonly clients: number },
): Promise<ScenarioResult> => {
  const { FAULT_ROUNDS, FAULT_SEED, FAULT_CLIENTS } = process.env;
  const lines: string[] = [];
  const result = await scenario({
    rounds: Number(FAULT_ROUNDS ?? rounds),
    seed: Number(FAULT_SEED ?? 1),
    clients: Number(FAULT_CLIENTS ?? clients),
    say: (line) => lines.push(line),
  });
  expect(result.violations, lines.join("\n")).toEqual([]);
  expect(result.outcomes.answered ?? 0).toBeGreaterThan(clients);
  return result;
};
