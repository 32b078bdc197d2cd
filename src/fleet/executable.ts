import { accessSync, constants, existsSync, statSync } from "node:fs";
import { createRequire } from "node:module";
import { isAbsolute, join, resolve } from "node:path";
import { SquadronError } from "../kernel/errors.ts";

/** Where runtimes, and we on their behalf, look for programs. */
export const searchPath = "/usr/local/bin:/usr/bin:/bin";

/** The absolute path of a program in `searchPath`; undefined if there is none. */
export const findProgram = (name: string): string | undefined =>
  searchPath
    .split(":")
    .map((directory) => join(directory, name))
    .find(isExecutable);

/**
 * The absolute path of the runtime's executable for `runtimes.command`: a path, a program's name, or `auto` for the
 * one that the installed SDK brings for this platform. Throws `config_invalid`.
 */
export const runtimeExecutable = (command: string): string => {
  if (command === "auto") return sdkRuntime();
  const found = isAbsolute(command) || command.includes("/") ? resolve(command) : findProgram(command);
  if (found !== undefined && isExecutable(found)) return found;
  throw new SquadronError(
    "config_invalid",
    `runtimes.command: there is no executable ${command}. Give a path, a program in ${searchPath}, or auto.`,
  );
};

const sdkRuntime = (): string => {
  const platform = runtimePlatform();
  const packageName = `@github/copilot-sdk-${platform}`;
  const executable = `copilot-runtime${process.platform === "win32" ? ".exe" : ""}`;
  // From where the SDK itself is, as it does: package managers may put its parts where only it finds them.
  const sdk = createRequire(import.meta.url).resolve("@github/copilot-sdk");
  const folders = createRequire(sdk).resolve.paths(packageName) ?? [];
  const path = folders
    .map((folder) => join(folder, packageName, "prebuilds", platform, executable))
    .find((candidate) => existsSync(candidate));
  if (path === undefined) {
    throw new SquadronError(
      "config_invalid",
      `runtimes.command is auto, but ${packageName} is not installed. Reinstall @github/copilot-sdk with its optional dependencies, or set runtimes.command.`,
    );
  }
  return path;
};

/** The SDK's name of this platform, such as `linux-x64` or `linuxmusl-arm64`. */
const runtimePlatform = (): string => {
  const { platform, arch } = process;
  if (platform !== "linux") return `${platform}-${arch}`;
  return `${usesGlibc() ? "linux" : "linuxmusl"}-${arch}`;
};

const usesGlibc = (): boolean => {
  const report: unknown = process.report.getReport();
  const header: unknown =
    typeof report === "object" && report !== null && "header" in report ? report.header : undefined;
  return typeof header === "object" && header !== null && "glibcVersionRuntime" in header;
};

const isExecutable = (path: string): boolean => {
  try {
    accessSync(path, constants.X_OK);
    return statSync(path).isFile();
  } catch {
    // Absent or not ours to run: both mean that this is not the program.
    return false;
  }
};
