import { readFileSync } from "node:fs";
import type { Readable } from "node:stream";
import { text } from "node:stream/consumers";
import { setTimeout as pause } from "node:timers/promises";
import { isObject } from "../../kernel/json.ts";
import { signal } from "../leftovers.ts";
import { startTicksOf } from "../process-table.ts";
import { isZombie } from "./owner-life.ts";

const pollMs = 1;

/** The first process of a box's pid namespace, as the host sees it: with it everything in the box ends. */
export interface InitProcess {
  readonly pid: number;
  /** The process that it watches: the runtime. Undefined once the box has ended. */
  watched(): Promise<number | undefined>;
  kill(): void;
  /** Resolves when it, and so every process of the box, is gone. */
  gone(): Promise<void>;
}

/** Reads what bwrap tells on its `--info-fd`. Undefined if it ended before it had made the box. */
export const readInit = async (info: Readable): Promise<InitProcess | undefined> => {
  const told = await text(info).catch(() => "");
  if (told === "") return undefined;
  const parsed: unknown = JSON.parse(told);
  const pid = isObject(parsed) ? parsed["child-pid"] : undefined;
  const ticks = typeof pid === "number" ? startTicksOf(pid) : undefined;
  if (typeof pid !== "number" || ticks === undefined) return undefined;
  const lives = () => startTicksOf(pid) === ticks && !isZombie(pid);
  return {
    pid,
    watched: async () => {
      for (; lives(); await pause(pollMs)) {
        const child = childOf(pid);
        if (child !== undefined) return child;
      }
      return undefined;
    },
    kill: () => {
      if (lives()) signal(pid, "SIGKILL");
    },
    gone: async () => {
      // The kernel ends all others of the namespace before this one can be seen as a zombie.
      while (lives()) await pause(pollMs);
    },
  };
};

/** Where the kernel keeps no list of children, the first process stands for the runtime. */
const childOf = (pid: number): number | undefined => {
  try {
    const children = readFileSync(`/proc/${pid}/task/${pid}/children`, "latin1");
    return children === "" ? undefined : Number(children.split(" ")[0]);
  } catch {
    return pid;
  }
};
