import { Command } from "commander";
import { stringify } from "yaml";
import { configNotes, describeConfig } from "../config/describe.ts";
import { requireSandbox } from "../fleet/sandbox/host.ts";
import { SquadronError } from "../kernel/errors.ts";
import { configOption, readConfig } from "./configuration.ts";
import { CommandFailure, exitCodes } from "./failure.ts";
import { note, print, printJson } from "./terminal.ts";

const check = async ({ config: file, json }: { config?: string; json?: true }): Promise<void> => {
  try {
    const config = await readConfig(file);
    await requireSandbox(config.runtimes.sandbox, config.state.path);
    const effective = describeConfig(config);
    const notes = configNotes(config);
    if (json) printJson({ valid: true, notes, effective });
    else {
      print(stringify(effective).trimEnd());
      for (const text of notes) note(`squadron: ${text}`);
    }
  } catch (error) {
    const invalid = error instanceof SquadronError && error.code === "config_invalid";
    if (!json || !invalid) throw error;
    printJson({ valid: false, problems: error.details.problems ?? [error.message] });
    throw new CommandFailure(exitCodes.failed, "The configuration is not valid.", { cause: error });
  }
};

export const configCommand = (): Command =>
  new Command("config")
    .description("the configuration")
    .addCommand(
      new Command("check")
        .description(
          "print the effective configuration, secrets masked; or everything that is wrong with it on this host",
        )
        .addOption(configOption())
        .option("--json", "print JSON")
        .action(check),
    );
