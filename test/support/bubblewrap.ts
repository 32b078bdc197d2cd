import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";

/** Boxes as they are meant to be need Linux, and root for a user id each. */
export const canHaveBoxes = process.platform === "linux" && process.getuid?.() === 0;

const apt = (...args: readonly string[]): string => {
  const { status, stderr, error } = spawnSync("apt-get", ["-qq", "-y", ...args], {
    env: { ...process.env, DEBIAN_FRONTEND: "noninteractive" },
    encoding: "utf8",
    timeout: 120_000,
  });
  return status === 0 ? "" : `apt-get ${args.join(" ")}: ${error?.message ?? stderr}`;
};

/** Installs bubblewrap where it is missing. Throws if that fails: a test of boxes that is left out proves nothing. */
export const needBubblewrap = (): void => {
  const programs = ["bwrap", "setpriv", "prlimit"];
  const isThere = () => programs.every((name) => existsSync(`/usr/bin/${name}`));
  if (isThere()) return;
  const packages = ["install", "--no-install-recommends", "bubblewrap", "util-linux"];
  const problem = apt(...packages) && (apt("update") || apt(...packages));
  if (!isThere()) throw new Error(`These tests need bubblewrap, and it cannot be installed. ${problem}`);
};
