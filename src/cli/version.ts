import { readFileSync } from "node:fs";
import { findPackageJSON } from "node:module";

/** The version of this package, as its package.json says it. */
export const packageVersion = (): string => {
  const file = findPackageJSON(import.meta.url);
  const stated: unknown = file === undefined ? undefined : JSON.parse(readFileSync(file, "utf8"));
  return typeof stated === "object" && stated !== null && "version" in stated
    ? String(stated.version)
    : "unknown";
};
