import { Command } from "commander";
import { destination } from "pino";
import { configNotes } from "../config/describe.ts";
import { httpUrl, sdkEndpoint } from "../endpoints.ts";
import { type SquadronNode, startNode } from "../node.ts";
import { createLog, type Log, type LogLevel } from "../telemetry/log.ts";
import { configFile, configOption, readConfig } from "./configuration.ts";
import { hasModels, modelsNote } from "./doctor-models.ts";
import { stopRequested } from "./signals.ts";
import { note, print, printJson, styled } from "./terminal.ts";

const maxWaitingLogBytes = 4 * 2 ** 20;

/** The node's log on standard error, so that standard output has the command's own result only. */
export const standardErrorLog = (level: LogLevel): Log =>
  createLog({ level, destination: destination({ dest: 2, sync: false, maxLength: maxWaitingLogBytes }) });

const announce = (node: SquadronNode, file: string | undefined): void => {
  const line = (name: string, value: string) => print(`  ${styled("dim", name.padEnd(14))}${value}`);
  print(styled("bold", "Squadron is up."));
  line("SDK endpoint", sdkEndpoint(node));
  line("Chat room", `${httpUrl(node)}/chat`);
  line("HTTP API", `${httpUrl(node)}  (documentation at ${httpUrl(node)}/docs)`);
  line("Store", node.config.store.url);
  line("Configuration", file ?? "none: the defaults, and SQUADRON_… of the environment");
  if (node.firstAdminKey !== undefined) {
    print("");
    print(`  The first admin key, shown this once: ${styled("bold", node.firstAdminKey.reveal())}`);
    print(styled("dim", "  Put it into SQUADRON_KEY for `squadron status` and `squadron key create`."));
  }
};

const up = async ({ config: given, json }: { config?: string; json?: true }): Promise<void> => {
  const stopped = stopRequested();
  const config = await readConfig(given);
  for (const warning of configNotes(config)) note(`squadron: ${warning}`);
  if (!hasModels(config)) note(`squadron: ${modelsNote}`);
  const node = await startNode(config, { log: standardErrorLog(config.telemetry.logLevel) });
  if (json) {
    printJson({
      sdk: sdkEndpoint(node),
      http: httpUrl(node),
      store: config.store.url,
      ...(node.firstAdminKey !== undefined && { firstAdminKey: node.firstAdminKey.reveal() }),
    });
  } else announce(node, configFile(given));
  const signal = await Promise.race([stopped, node.closed]);
  if (signal === undefined) return note("squadron: drained and closed");
  note(`squadron: ${signal}, draining; once more to end at once`);
  await node.drain();
};

export const upCommand = (): Command =>
  new Command("up")
    .description("run a node until SIGINT or SIGTERM; no configuration at all is a valid one")
    .addOption(configOption())
    .option("--json", "print the endpoints as JSON")
    .addHelpText("after", "\nThe log goes to standard error, a line of JSON per event.")
    .action(up);
