import { spawnSync } from "node:child_process";

const apt = (...args: readonly string[]): string => {
  const { status, stderr, error } = spawnSync("apt-get", ["-qq", "-y", ...args], {
    env: { ...process.env, DEBIAN_FRONTEND: "noninteractive" },
    encoding: "utf8",
    timeout: 120_000,
  });
  return status === 0 ? "" : `\napt-get ${args.join(" ")}: ${error?.message ?? stderr}`;
};

/** Installs packages on a Debian whose packages can be installed; what went wrong, or nothing. */
export const installPackages = (...names: readonly string[]): string => {
  if (process.platform !== "linux") return "";
  const install = ["install", "--no-install-recommends", ...names];
  return apt(...install) && apt("update") + apt(...install);
};
