import { SquadronError } from "../../kernel/errors.ts";
import { findProgram, searchPath } from "../executable.ts";
import { type Bubble, bubbleArguments, insideRuntime } from "./bubblewrap.ts";
import type { Launch, Owner } from "./confinement.ts";
import type { RuntimeCopy } from "./runtime-copy.ts";

export interface Programs {
  readonly bwrap: string;
  readonly setpriv: string;
  readonly prlimit: string;
}

/** The programs that start a box. Throws `config_invalid` if one is missing. */
export const findPrograms = (): Programs => ({
  bwrap: needed("bwrap", "bubblewrap"),
  setpriv: needed("setpriv", "util-linux"),
  prlimit: needed("prlimit", "util-linux"),
});

const needed = (name: string, origin: string): string => {
  const path = findProgram(name);
  if (path !== undefined) return path;
  throw new SquadronError(
    "config_invalid",
    `runtimes.sandbox.kind: bubblewrap needs ${name}, which is not in ${searchPath}: install ${origin}.`,
  );
};

export interface LaunchPlan {
  readonly programs: Programs;
  readonly runtime: RuntimeCopy;
  /** Undefined: the node's own user. */
  readonly owner: Owner | undefined;
  /** The group whose members can reach the boxes' directories. */
  readonly group: number;
  readonly limits:
    | { readonly kind: "cgroup"; readonly entrances: readonly string[] }
    | { readonly kind: "each"; readonly memoryBytes: number; readonly processes: number };
  readonly bubble: Omit<Bubble, "environment" | "workingDirectory">;
}

/** Enters the cgroups and becomes the command, so that nothing of a box has ever been outside of its limits. */
const enter = 'set -e; while [ "$1" != -- ]; do echo $$ > "$1"; shift; done; shift; exec "$@"';

/**
 * The first process of a box: waits for the runtime, collects orphans, ends with the runtime's status. bwrap would do
 * so too, but a shell in the box could trace it and take the runtime's pipe out of its descriptors, and its memory
 * holds the environment. This one is a shell that its user cannot read, so the kernel lets nobody look into it.
 */
const watch = '"$@"; exit $?';

/** Node's process -> sh in the cgroup -> setpriv as the box's user -> bwrap -> (in the box) sh -> runtime. */
export const planLaunch = (
  box: {
    readonly command: readonly [string, ...string[]];
    readonly environment: Readonly<Record<string, string>>;
    readonly workingDirectory: string;
  },
  { programs, runtime, owner, group, limits, bubble }: LaunchPlan,
): Launch => {
  const user = owner && ["--reuid", `${owner.uid}`, "--regid", `${owner.gid}`, "--groups", `${group}`];
  const started = [
    ...[programs.setpriv, ...(user ?? []), "--no-new-privs", "--pdeathsig", "KILL", "--"],
    ...(limits.kind === "each" ? [programs.prlimit, ...eachLimits(limits, owner !== undefined), "--"] : []),
    ...[programs.bwrap, "--args", "3", "--info-fd", "4", "--"],
    ...[`${insideRuntime}/${runtime.shell}`, "-c", watch, "sh"],
    ...[`${insideRuntime}/${runtime.executable}`, ...box.command.slice(1)],
  ];
  const entrances = limits.kind === "cgroup" ? limits.entrances : [];
  return {
    command: ["/bin/sh", "-c", enter, "sh", ...entrances, "--", ...started],
    environment: { PATH: searchPath },
    argumentsText: bubbleArguments({ ...bubble, ...box })
      .map((argument) => `${argument}\0`)
      .join(""),
  };
};

/** Processes are counted per user: with the node's own uid all that it runs would count. */
const eachLimits = (limits: { memoryBytes: number; processes: number }, ownUid: boolean): string[] => [
  `--data=${limits.memoryBytes}`,
  ...(ownUid ? [`--nproc=${limits.processes}`] : []),
];
