import { isObject } from "../kernel/json.ts";

/** The version of the runtime that the installed SDK brings, as the SDK itself states it; `unknown` when it does not. */
export const bundledRuntimeVersion = async (): Promise<string> => {
  const stated: unknown = await import(
    new URL("cliVersion.js", import.meta.resolve("@github/copilot-sdk")).href
  );
  const version = isObject(stated) ? stated.COPILOT_CLI_VERSION : undefined;
  return typeof version === "string" ? version : "unknown";
};
