/**
 * THE SEAM between fleet and sandbox. One `Sandbox` per node, one `Allocation` per process:
 *
 *   const sandbox = createSandbox({ config: runtimes.sandbox, executable, statePath, log });  // once; throws nothing
 *   await sandbox.sweep();                                     // once, before the first allocate
 *   const seat = await sandbox.allocate(boxDirectory);         // directories exist, are empty and ours; they become the box's
 *   const box = await openBox({ …, environment: runtimeEnvironment(seat.inside, extra),
 *                               workingDirectory: seat.inside.work, confinement: seat.confinement });
 *   …                                                          // frames carry seat.inside paths, we use the host's
 *   await box.empty();                                         // all processes, the cgroup and the mounts are gone
 *   await seat.release();                                      // the uid may be another's: remove the directory BEFORE this
 *   await sandbox.close();                                     // once, after all boxes
 *
 * With `kind: none` the same calls work: inside paths are the host's, `owner` and `confinement` are undefined.
 * Files that we put into a box (restored sessions) must be given to `seat.owner`, and a box may have planted
 * symbolic links and FIFOs anywhere below its directories: open with O_NOFOLLOW and O_NONBLOCK, component by component.
 */
import { randomBytes } from "node:crypto";
import { chmod, chown, mkdir, readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { dirname, join, resolve } from "node:path";
import type { SandboxConfig } from "../../config/config.ts";
import { SquadronError } from "../../kernel/errors.ts";
import type { Log } from "../../telemetry/log.ts";
import { ownerTag } from "../leftovers.ts";
import { inside } from "./bubblewrap.ts";
import { type BoxCgroup, type Cgroups, openCgroups, removeCgroup } from "./cgroup.ts";
import type { BoxPlace, Confinement, InsidePaths, Owner } from "./confinement.ts";
import { findPrograms, type Programs, planLaunch } from "./launch.ts";
import { ownerLives } from "./owner-life.ts";
import { copyRuntime, type RuntimeCopy } from "./runtime-copy.ts";
import { boxGroup, createUids } from "./uids.ts";

/** A place for one process. */
export interface Allocation {
  readonly inside: InsidePaths;
  /** Who must own what we put into the directories; undefined: we do. */
  readonly owner: Owner | undefined;
  /** For `openBox`; undefined: not confined. */
  readonly confinement: Confinement | undefined;
  /** Gives the uid back. After `Box.empty()`; a second call does nothing. */
  release(): Promise<void>;
}

export interface Sandbox {
  /** Kills and removes what boxes of nodes that are no more have left on this state directory. */
  sweep(): Promise<void>;
  /** Rejects with `config_invalid` (a program is missing), `no_capacity` (no uid is free) or the system's error. */
  allocate(place: BoxPlace): Promise<Allocation>;
  /** Removes what the sandbox keeps outside the state directory. All boxes must be empty. */
  close(): Promise<void>;
}

export interface SandboxOptions {
  readonly config: SandboxConfig;
  /** The runtime's executable on the host. */
  readonly executable: string;
  /** A directory of this node alone. */
  readonly statePath: string;
  readonly log: Log;
  /** Where all nodes of this host note the user ids of their boxes. */
  readonly uidDirectory?: string;
}

const defaultUidDirectory = "/run/squadron/uids";
/** Of the box's memory, at most this part can be temporary files. */
const temporaryShare = 1 / 8;
const cgroupForm = /^squadron-(\d+\.\d+)-[0-9a-f]+$/;

export const createSandbox = (options: SandboxOptions): Sandbox =>
  options.config.kind === "none" ? withoutSandbox : bubblewrapSandbox(options);

const withoutSandbox: Sandbox = {
  sweep: async () => undefined,
  allocate: async ({ home, copilotHome, work, temporary }) => ({
    inside: { home, copilotHome, work, temporary },
    owner: undefined,
    confinement: undefined,
    release: async () => undefined,
  }),
  close: async () => undefined,
};

/** What all boxes of a node share. */
interface Ground {
  readonly programs: Programs;
  readonly runtime: RuntimeCopy;
  readonly cgroups: Cgroups | undefined;
  readonly accounts: { readonly passwd: string; readonly group: string };
}

const bubblewrapSandbox = ({ config, executable, statePath, log, ...rest }: SandboxOptions): Sandbox => {
  const state = resolve(statePath);
  const own = join(state, "sandbox");
  const records = join(own, "cgroups");
  const isRoot = process.getuid?.() === 0;
  const uids = createUids(rest.uidDirectory ?? defaultUidDirectory);
  const cgroupName = `squadron-${ownerTag()}-${randomBytes(4).toString("hex")}`;
  let ground: Promise<Ground> | undefined;
  let boxes = 0;

  const layGround = async (): Promise<Ground> => {
    const programs = findPrograms();
    await mkdir(records, { recursive: true, mode: 0o700 });
    if (isRoot) for (const path of [state, own]) await openPath(path);
    else log.warn({}, "boxes share the user id of this node, which does not run as root");
    const accounts = { passwd: join(own, "passwd"), group: join(own, "group") };
    await writeFile(accounts.passwd, `u:x:1000:1000::${inside.home}:/bin/sh\n`);
    await writeFile(accounts.group, "u:x:1000:\n");
    for (const path of Object.values(accounts)) await chmod(path, 0o644);
    const runtimes = join(own, "runtime");
    const runtime = await copyRuntime(executable, runtimes);
    await chmod(runtimes, 0o755);
    return { programs, runtime, accounts, cgroups: await openLimits() };
  };

  const openLimits = async (): Promise<Cgroups | undefined> => {
    const cgroups = openCgroups(cgroupName);
    if (typeof cgroups === "string") {
      log.warn({ reason: cgroups }, "no cgroups here: limits bound the processes of a box, not the box");
      return undefined;
    }
    if (!cgroups.cpu) log.warn({}, "no cpu controller here: boxes can use all processors");
    try {
      await writeFile(join(records, cgroupName), `${cgroups.parents.join("\n")}\n`, { mode: 0o600 });
    } catch (error) {
      for (const parent of cgroups.parents) await removeCgroup(parent);
      throw error;
    }
    return cgroups;
  };

  const prepared = (): Promise<Ground> => {
    ground ??= layGround().catch((error: unknown) => {
      ground = undefined;
      throw error;
    });
    return ground;
  };

  const give = async (place: BoxPlace, owner: Owner): Promise<void> => {
    await openPath(dirname(place.root));
    const held = [place.root, place.home, place.copilotHome, place.temporary];
    // An operator's common working directory stays theirs.
    if (place.work.startsWith(`${place.root}/`)) held.push(place.work);
    for (const path of held) {
      await chown(path, owner.uid, owner.gid);
      await chmod(path, 0o700);
    }
  };

  const confine = (
    { programs, runtime, accounts, cgroups }: Ground,
    place: BoxPlace,
    owner: Owner | undefined,
  ): Confinement => {
    boxes += 1;
    const cgroup: BoxCgroup | undefined = cgroups?.create(`box-${boxes}`, config);
    return {
      launch: (box) =>
        planLaunch(box, {
          programs,
          runtime,
          owner,
          group: boxGroup,
          limits: cgroup ? { kind: "cgroup", entrances: cgroup.entrances } : { ...config, kind: "each" },
          bubble: {
            place,
            accounts,
            network: config.network,
            temporaryBytes: Math.round(config.memoryBytes * temporaryShare),
            runtimeRoot: runtime.root,
          },
        }),
      empty: async () => cgroup?.remove(),
    };
  };

  const allocate = async (place: BoxPlace): Promise<Allocation> => {
    const shared = await prepared();
    const held = isRoot ? await uids.take() : undefined;
    const owner = held && { uid: held.uid, gid: held.uid };
    try {
      if (owner) await give(place, owner);
      const confinement = confine(shared, place, owner);
      return {
        inside,
        owner,
        confinement,
        release: async () => {
          await confinement.empty();
          await held?.release();
        },
      };
    } catch (error) {
      await held?.release();
      throw error;
    }
  };

  const sweep = async (): Promise<void> => {
    if (isRoot) await uids.sweep();
    // Absent: no node of this state directory has had boxes yet.
    for (const name of await readdir(records).catch(() => [])) {
      const owner = cgroupForm.exec(name)?.[1];
      if (owner === undefined || ownerLives(owner)) continue;
      for (const parent of (await readFile(join(records, name), "utf8")).split("\n")) {
        if (parent.endsWith(`/${name}`)) await removeCgroup(parent);
      }
      await rm(join(records, name));
    }
  };

  return {
    sweep,
    allocate,
    close: async () => {
      const laid = await ground?.catch(() => undefined);
      for (const parent of laid?.cgroups?.parents ?? []) await removeCgroup(parent);
      await rm(join(records, cgroupName), { force: true });
    },
  };
};

/** Lets the users of boxes, and nobody else, walk through a directory of ours; they cannot look into it. */
const openPath = async (path: string): Promise<void> => {
  const { gid, mode, uid } = await stat(path);
  if (gid === boxGroup && (mode & 0o777) === 0o710) return;
  if (uid !== process.getuid?.())
    throw new SquadronError(
      "config_invalid",
      `${path} is not this node's own directory: boxes need it to be.`,
    );
  await chown(path, uid, boxGroup);
  await chmod(path, 0o710);
};
