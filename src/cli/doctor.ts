import { Command } from "commander";
import { configOption } from "./configuration.ts";
import { examine } from "./doctor-checks.ts";
import { CommandFailure, exitCodes } from "./failure.ts";
import type { Finding } from "./finding.ts";
import { print, printJson, type Style, styled } from "./terminal.ts";

const styles: Readonly<Record<Finding["state"], Style>> = { ok: "green", warn: "yellow", fail: "red" };

const show = ({ name, state, message, advice }: Finding): void => {
  print(`${styled(styles[state], state.padEnd(4))}  ${name.padEnd(16)}${message}`);
  if (advice !== undefined) print(`${" ".repeat(22)}${styled("dim", advice)}`);
};

const doctor = async ({ config, json }: { config?: string; json?: true }): Promise<void> => {
  const findings: Finding[] = [];
  for await (const finding of examine(config)) {
    findings.push(finding);
    if (!json) show(finding);
  }
  const failed = findings.filter(({ state }) => state === "fail").length;
  if (json) printJson({ healthy: failed === 0, findings });
  if (failed > 0)
    throw new CommandFailure(exitCodes.failed, `${failed} of ${findings.length} checks failed.`);
};

export const doctorCommand = (): Command =>
  new Command("doctor")
    .description(
      "can a node run here? Checks what it needs, and says what to do; exits with 1 if something fails",
    )
    .addOption(configOption())
    .option("--json", "print JSON")
    .addHelpText(
      "after",
      "\nIt starts one runtime and asks each model provider for its list of models, and makes the store and the state directory if they are not there yet.",
    )
    .action(doctor);
