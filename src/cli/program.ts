import { Command, CommanderError } from "commander";
import { configCommand } from "./config.ts";
import { demoCommand } from "./demo.ts";
import { doctorCommand } from "./doctor.ts";
import { drainCommand } from "./drain.ts";
import { exitCodes, exitCodesHelp, explain } from "./failure.ts";
import { keyCommand } from "./key.ts";
import { runtimesCommand } from "./runtimes.ts";
import { sessionsCommand } from "./sessions.ts";
import { statusCommand } from "./status.ts";
import { note } from "./terminal.ts";
import { upCommand } from "./up.ts";
import { packageVersion } from "./version.ts";

const buildProgram = (): Command => {
  const program = new Command("squadron")
    .description("The multi-tenant session server for the GitHub Copilot SDK")
    .version(packageVersion())
    // An option belongs to the command that it stands behind: several have some of the same name.
    .enablePositionalOptions()
    .addCommand(upCommand())
    .addCommand(demoCommand())
    .addCommand(statusCommand())
    .addCommand(sessionsCommand())
    .addCommand(runtimesCommand())
    .addCommand(drainCommand())
    .addCommand(keyCommand())
    .addCommand(configCommand())
    .addCommand(doctorCommand())
    .addHelpText("after", exitCodesHelp);
  const inherit = (command: Command): void => {
    command.exitOverride().showHelpAfterError("(--help shows how to use it)");
    for (const inner of command.commands) inherit(inner);
  };
  inherit(program);
  return program;
};

/** Runs the command of `argv` (as Node gives it) and sets the process's exit status. */
export const runProgram = async (argv: readonly string[]): Promise<void> => {
  // A reader such as `head` may leave before we are done: nothing is wrong then, and nobody is left to write for.
  process.stdout.on("error", (error: NodeJS.ErrnoException) => {
    if (error.code === "EPIPE") process.exit(exitCodes.done);
    throw error;
  });
  // A command may wait for nothing but a timer of ours, and those keep no process alive.
  const running = setInterval(() => undefined, 60_000);
  try {
    await buildProgram().parseAsync([...argv]);
  } catch (error) {
    if (error instanceof CommanderError) {
      process.exitCode = error.exitCode === 0 ? exitCodes.done : exitCodes.usage;
      return;
    }
    const { message, exitCode } = explain(error);
    note(`squadron: ${message}`);
    process.exitCode = exitCode;
  } finally {
    clearInterval(running);
  }
};
