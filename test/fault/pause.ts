import { setTimeout as sleep } from "node:timers/promises";
import type { Random } from "./random.ts";

/** Lets the load run for a random while, so that a fault meets it anywhere. Nothing is waited for. */
export const runOn = (random: Random, ms: { readonly least: number; readonly most: number }): Promise<void> =>
  sleep(ms.least + random.below(ms.most - ms.least));

/** How long a fault lasts that ends by itself. */
export const lasting = (ms: number): Promise<void> => sleep(ms);

const untoldRetryMs = 100;
const longestRetryMs = 1_000;

/** What a client waits before it tries again: as long as it was told, or a little. */
export const beforeRetry = (toldMs: number | undefined): Promise<void> =>
  sleep(Math.min(toldMs ?? untoldRetryMs, longestRetryMs));
