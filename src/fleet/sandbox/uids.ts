import { randomInt } from "node:crypto";
import { mkdir, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { SquadronError } from "../../kernel/errors.ts";
import { ownerTag } from "../leftovers.ts";
import { ownerLives } from "./owner-life.ts";

/** The group of all boxes. It opens nothing but the way to their directories (see `openPath`). */
export const boxGroup = 210_000;
const boxUids: UidRange = { first: boxGroup + 1, last: 279_999 };
const maxTries = 50;
const claimForm = /^(\d+)\.(\d+\.\d+)$/;

export interface UidRange {
  readonly first: number;
  readonly last: number;
}

/** A user id that no other box on this host has while it is held. */
export interface HeldUid {
  readonly uid: number;
  /** A second call does nothing. */
  release(): Promise<void>;
}

export interface Uids {
  /** Rejects with `no_capacity` if no free one was found. */
  take(): Promise<HeldUid>;
  /** Removes the claims of nodes that are no more. */
  sweep(): Promise<void>;
}

/**
 * User ids out of a range of the host. A claim is a file `<uid>.<owner tag>` in a directory that all nodes of this host
 * share: whoever, having made its own, sees another living one for the same uid takes another. No claim is
 * ever taken over, so there is nothing to race for, and the claims of the dead can be removed by anybody.
 */
export const createUids = (directory: string, { first, last }: UidRange = boxUids): Uids => {
  const tag = ownerTag();
  // Two sandboxes of one process have the same tag.
  const held = heldHere;

  const take = async (): Promise<HeldUid> => {
    await mkdir(directory, { recursive: true, mode: 0o700 });
    const running = await uidsInUse();
    for (let tries = 0; tries < maxTries; tries++) {
      const uid = randomInt(first, last + 1);
      if (running.has(uid) || held.has(uid)) continue;
      held.add(uid);
      const claim = join(directory, `${uid}.${tag}`);
      try {
        await writeFile(claim, "", { mode: 0o600 });
        if (!(await claimedByOther(uid))) {
          return {
            uid,
            release: async () => {
              await rm(claim, { force: true });
              held.delete(uid);
            },
          };
        }
        await rm(claim, { force: true });
      } catch (error) {
        held.delete(uid);
        throw error;
      }
      held.delete(uid);
    }
    throw new SquadronError(
      "no_capacity",
      `No free user id between ${first} and ${last} was found for a box.`,
    );
  };

  const claimedByOther = async (uid: number): Promise<boolean> =>
    (await claims()).some((claim) => claim.uid === uid && claim.owner !== tag && ownerLives(claim.owner));

  const claims = async (): Promise<{ name: string; uid: number; owner: string }[]> =>
    (await readdir(directory)).flatMap((name) => {
      const [, uid, owner] = claimForm.exec(name) ?? [];
      return uid === undefined || owner === undefined ? [] : [{ name, uid: Number(uid), owner }];
    });

  const sweep = async (): Promise<void> => {
    await mkdir(directory, { recursive: true, mode: 0o700 });
    for (const { name, owner } of await claims())
      if (owner !== tag && !ownerLives(owner)) await rm(join(directory, name), { force: true });
  };

  return { take, sweep };
};

const heldHere = new Set<number>();

/** What processes run under now, whoever started them: other programs may have given these ids to their containers. */
const uidsInUse = async (): Promise<ReadonlySet<number>> => {
  const pids = (await readdir("/proc")).filter((name) => /^\d+$/.test(name));
  const found = await Promise.all(
    pids.map(async (pid) => {
      // Gone meanwhile: it uses none.
      const status = await readFile(`/proc/${pid}/status`, "latin1").catch(() => "");
      return (/^Uid:((?:\s+\d+)+)$/m.exec(status)?.[1] ?? "").trim().split(/\s+/).map(Number);
    }),
  );
  return new Set(found.flat());
};
