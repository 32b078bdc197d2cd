import { existsSync } from "node:fs";
import { Option } from "commander";
import type { Config } from "../config/config.ts";
import { loadConfig } from "../config/load.ts";

const usualFile = "squadron.yaml";

export const configOption = (): Option =>
  new Option("-c, --config <file>", `configuration file (default: ./${usualFile} if there is one)`).env(
    "SQUADRON_CONFIG",
  );

/** The file that a command reads; undefined for none, which is valid too. */
export const configFile = (given: string | undefined): string | undefined =>
  given ?? (existsSync(usualFile) ? usualFile : undefined);

/** The configuration of this directory and environment. Rejects with `config_invalid`. */
export const readConfig = (given: string | undefined): Promise<Config> => {
  const file = configFile(given);
  return loadConfig({ env: process.env, ...(file !== undefined && { file }) });
};
