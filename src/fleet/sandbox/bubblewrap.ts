import { existsSync, lstatSync, readlinkSync } from "node:fs";
import type { BoxPlace, InsidePaths } from "./confinement.ts";

/** Where everything is for the process in the box, whoever's box it is. */
export const inside = {
  home: "/home/u",
  copilotHome: "/home/u/.copilot",
  work: "/project",
  temporary: "/tmp",
} as const satisfies InsidePaths;

export const insideRuntime = "/opt/copilot";
const insideUid = "1000";
const sharedMemoryBytes = 16 * 2 ** 20;

/** Links to directories of /usr on merged systems, directories of their own on others. */
const programDirectories = ["/bin", "/sbin", "/lib", "/lib64", "/lib32"];
const always = ["/etc/ld.so.cache", "/etc/ld.so.conf", "/etc/ld.so.conf.d", "/etc/alternatives"];
const certificates = [
  "/etc/ssl/certs",
  "/etc/ssl/cert.pem",
  "/etc/ssl/openssl.cnf",
  "/etc/pki",
  "/etc/ca-certificates",
];
const names = ["/etc/resolv.conf", "/etc/hosts", "/etc/nsswitch.conf", "/etc/host.conf", "/etc/gai.conf"];

export interface Bubble {
  readonly place: BoxPlace;
  readonly network: "none" | "host";
  readonly temporaryBytes: number;
  /** Made by runtime-copy.ts. */
  readonly runtimeRoot: string;
  readonly accounts: { readonly passwd: string; readonly group: string };
  readonly environment: Readonly<Record<string, string>>;
  readonly workingDirectory: string;
}

/**
 * bwrap's options. They carry the environment, so they must go through a pipe (`--args`): command lines are public.
 * Nothing of the host can be written but the box's own directories, and nothing is there that a program does not need.
 */
export const bubbleArguments = (bubble: Bubble): string[] => [
  // A second user namespace cannot be made in this one: the kernel's largest attack surface stays closed.
  ...["--unshare-user", "--uid", insideUid, "--gid", insideUid, "--disable-userns"],
  ...["--unshare-pid", "--unshare-ipc", "--unshare-uts", "--unshare-cgroup-try", "--hostname", "box"],
  ...(bubble.network === "none" ? ["--unshare-net"] : []),
  ...["--die-with-parent", "--new-session", "--as-pid-1", "--cap-drop", "ALL"],
  "--clearenv",
  ...Object.entries(bubble.environment).flatMap(([name, value]) => ["--setenv", name, value]),
  ...["--ro-bind", "/usr", "/usr"],
  ...programDirectories.flatMap(programDirectory),
  ...[...always, ...certificates].flatMap(readOnly),
  ...(bubble.network === "host" ? names.flatMap(readOnly) : []),
  ...["--ro-bind", bubble.accounts.passwd, "/etc/passwd", "--ro-bind", bubble.accounts.group, "/etc/group"],
  ...["--ro-bind", bubble.runtimeRoot, insideRuntime],
  ...["--dev", "/dev", "--size", String(sharedMemoryBytes), "--tmpfs", "/dev/shm", "--remount-ro", "/dev"],
  ...["--proc", "/proc"],
  ...["--size", String(bubble.temporaryBytes), "--tmpfs", inside.temporary],
  ...["--bind", bubble.place.home, inside.home, "--bind", bubble.place.work, inside.work],
  ...["--remount-ro", "/", "--chdir", bubble.workingDirectory],
];

const programDirectory = (path: string): string[] => {
  const found = lstatSync(path, { throwIfNoEntry: false });
  if (found === undefined) return [];
  return found.isSymbolicLink() ? ["--symlink", readlinkSync(path), path] : ["--ro-bind", path, path];
};

const readOnly = (path: string): string[] => (existsSync(path) ? ["--ro-bind", path, path] : []);
