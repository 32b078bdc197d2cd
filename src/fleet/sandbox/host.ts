import { spawnSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import { chmodSync, copyFileSync, existsSync, mkdtempSync, realpathSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";
import type { SandboxConfig } from "../../config/config.ts";
import { configError } from "../../config/problems.ts";
import { findProgram, searchPath } from "../executable.ts";
import { ownerTag } from "../leftovers.ts";
import { openCgroups, removeCgroup } from "./cgroup.ts";
import { unreadable } from "./runtime-copy.ts";
import { boxGroup } from "./uids.ts";

export interface Ability {
  readonly able: boolean;
  /** What was found; if not able, why and what to do. */
  readonly message: string;
}

/** What this host can do for boxes, each tried for real. */
export interface SandboxAbilities {
  /** A process in namespaces of its own, made by an unprivileged user. */
  readonly bubblewrap: Ability;
  /** The same without the host's network. */
  readonly ownNetwork: Ability;
  /** A user id per box. Without it boxes share the node's. */
  readonly ownUid: Ability;
  /** A process of a program that its user cannot read hides its memory and environment. */
  readonly hiddenMemory: Ability;
  /** Limits of whole trees of processes. Without them limits are per process. */
  readonly cgroups: Ability & { readonly version: 1 | 2 | undefined };
}

const probeUid = String(boxGroup);
const tryTimeoutMs = 10_000;
const install = "install bubblewrap 0.8 or later and util-linux (apt-get install bubblewrap util-linux)";
const allow =
  "user namespaces must be allowed: sysctl user.max_user_namespaces, kernel.unprivileged_userns_clone, kernel.apparmor_restrict_unprivileged_userns=0; in Docker --security-opt seccomp=… and systempaths=unconfined";

/** Tries everything; 30 to 100 ms. */
export const sandboxAbilities = async (): Promise<SandboxAbilities> => {
  const ownUid = tryOwnUid();
  const prefix = starter(ownUid.able);
  const bubblewrap = tryBubblewrap(prefix, ownUid.able, []);
  return {
    bubblewrap,
    ownNetwork: bubblewrap.able ? tryBubblewrap(prefix, ownUid.able, ["--unshare-net"]) : bubblewrap,
    ownUid,
    hiddenMemory: tryHiddenMemory(prefix, ownUid.able),
    cgroups: await tryCgroups(),
  };
};

/**
 * Rejects with `config_invalid`, which says what to install or to do, if boxes of this configuration cannot be made
 * on this host. What is only weaker than it could be is no error; `squadron doctor` and the log tell it.
 */
export const requireSandbox = async (config: SandboxConfig, statePath: string): Promise<void> => {
  if (config.kind === "none") return;
  const { bubblewrap, ownNetwork, ownUid } = await sandboxAbilities();
  const missing = config.network === "none" ? [bubblewrap, ownNetwork] : [bubblewrap];
  const messages = new Set(missing.flatMap(({ able, message }) => (able ? [] : [message])));
  const unreachable = ownUid.able ? unreachablePart(resolve(statePath)) : undefined;
  const problems = [...messages].map((message) => ({
    where: "runtimes.sandbox.kind",
    message: `bubblewrap is not possible here: ${message}`,
  }));
  if (unreachable !== undefined)
    problems.push({
      where: "state.path",
      message: `the users of boxes cannot reach ${unreachable}: chmod o+x it, or set state.path to a directory elsewhere`,
    });
  if (problems.length > 0) throw configError(problems);
};

const run = (
  command: readonly string[],
): { readonly ok: boolean; readonly output: string; readonly error: string } => {
  const [program = "", ...args] = command;
  const { status, stdout, stderr, error } = spawnSync(program, args, {
    env: { PATH: searchPath },
    encoding: "utf8",
    timeout: tryTimeoutMs,
    cwd: "/",
  });
  return {
    ok: status === 0,
    output: stdout ?? "",
    error: (error?.message ?? stderr ?? "").trim().slice(0, 300),
  };
};

/** What is before bwrap, see launch.ts. */
const starter = (asBoxUser: boolean): string[] => [
  "setpriv",
  ...(asBoxUser ? ["--reuid", probeUid, "--regid", probeUid, "--clear-groups"] : []),
  ...["--no-new-privs", "--pdeathsig", "KILL", "--"],
];

const tryOwnUid = (): Ability => {
  const shared = "boxes share the node's user id: a box that breaks out can do what the node can";
  if (process.getuid?.() !== 0)
    return {
      able: false,
      message: `${shared}; start the node as root (it gives every box a user of its own)`,
    };
  if (findProgram("setpriv") === undefined) return { able: false, message: `${shared}; install util-linux` };
  const { ok, error } = run([...starter(true), "true"]);
  return ok
    ? { able: true, message: "every box gets a user id of its own" }
    : { able: false, message: `${shared}; the node needs CAP_SETUID and CAP_SETGID (${error})` };
};

const tryBubblewrap = (prefix: readonly string[], ownUid: boolean, extra: readonly string[]): Ability => {
  if (process.platform !== "linux") return { able: false, message: "bubblewrap exists on Linux only" };
  const missing = ["bwrap", "setpriv", "prlimit"].find((name) => findProgram(name) === undefined);
  if (missing !== undefined)
    return { able: false, message: `there is no ${missing} in ${searchPath}; ${install}` };
  if (!ownUid && process.getuid?.() === 0)
    return {
      able: false,
      message:
        "a box must never run as root, and this node cannot change its user; give it CAP_SETUID, CAP_SETGID and CAP_CHOWN, or start it as another user",
    };
  const { ok, error } = run([
    ...prefix,
    "bwrap",
    ...[
      "--unshare-user",
      "--uid",
      "1000",
      "--gid",
      "1000",
      "--disable-userns",
      "--unshare-pid",
      "--as-pid-1",
    ],
    ...[
      "--unshare-ipc",
      "--unshare-uts",
      ...extra,
      "--die-with-parent",
      "--new-session",
      "--cap-drop",
      "ALL",
    ],
    ...[
      "--ro-bind",
      "/",
      "/",
      "--dev",
      "/dev",
      "--proc",
      "/proc",
      "--size",
      "65536",
      "--tmpfs",
      "/tmp",
      "--",
      "true",
    ],
  ]);
  if (ok) return { able: true, message: run(["bwrap", "--version"]).output.trim() };
  const advice = /nknown option/.test(error) ? install : allow;
  return { able: false, message: `bwrap fails (${error || "no message"}); ${advice}` };
};

/** As in a box: a shell that its user cannot read, and a child of it that tries to look into it. */
const tryHiddenMemory = (prefix: readonly string[], ownUid: boolean): Ability => {
  const weaker = "a shell in a box can read the runtime's memory and environment";
  if (!ownUid && process.getuid?.() === 0)
    return { able: false, message: `${weaker}: root can read every program` };
  const directory = mkdtempSync(join(tmpdir(), "squadron-host-"));
  try {
    const shell = join(directory, "sh");
    copyFileSync(realpathSync("/bin/sh"), shell);
    chmodSync(directory, 0o711);
    chmodSync(shell, unreadable);
    // By way of `env`, for setpriv itself still has root's right to read when it executes a program.
    const runs = run([...prefix, "env", shell, "-c", "exit 0"]).ok;
    const seen = run([...prefix, "env", shell, "-c", "cat /proc/$$/environ; exit $?"]).ok;
    return runs && !seen
      ? { able: true, message: "memory and environment of a runtime are hidden from its shells" }
      : {
          able: false,
          message: `${weaker}: ${runs ? "this kernel does not hide the process of an unreadable program" : `no program can be run from ${tmpdir()}`}`,
        };
  } finally {
    rmSync(directory, { recursive: true });
  }
};

const tryCgroups = async (): Promise<SandboxAbilities["cgroups"]> => {
  const weaker = "limits bound single processes, not a box as a whole";
  const cgroups = openCgroups(`squadron-${ownerTag()}-${randomBytes(4).toString("hex")}`);
  if (typeof cgroups === "string")
    return { able: false, version: undefined, message: `${weaker}: ${cgroups}` };
  const { version, cpu, parents } = cgroups;
  try {
    cgroups.create("probe", { memoryBytes: 2 ** 26, processes: 16, cpus: 1 });
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    return { able: false, version, message: `${weaker}: ${reason}` };
  } finally {
    for (const parent of parents) await removeCgroup(parent);
  }
  const bounded = cpu ? "memory, processes and cpu" : "memory and processes, but not cpu,";
  return { able: true, version, message: `cgroups of version ${version} bound ${bounded} of a box` };
};

/** The first directory above the state directory that the user of a box cannot enter; the state directory itself is opened by us. */
const unreachablePart = (statePath: string): string | undefined => {
  const above: string[] = [];
  for (let path = statePath; path !== dirname(path); path = dirname(path)) above.unshift(dirname(path));
  return above
    .filter((path) => existsSync(path))
    .find((path) => !run([...starter(true), "test", "-x", path]).ok);
};
