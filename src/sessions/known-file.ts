import { createHash } from "node:crypto";
import { bytesAtOnce, type Pace } from "../kernel/pace.ts";
import type { FileFacts } from "./safe-directory.ts";

/** What lay at a path when we looked last. */
export type Known =
  | KnownFile
  | { readonly kind: "directory"; readonly mode: number }
  | { readonly kind: "link"; readonly target: string };

/** A file as it was then, with what of it the store has. */
export interface KnownFile {
  readonly kind: "file";
  readonly facts: FileFacts;
  /** Bytes that the store has: of a log only whole lines. */
  readonly stored: number;
  /** The last stored bytes: a log that only grew still has them. */
  readonly tail: Buffer;
  /** Of a file that was read whole. */
  readonly hash: string | undefined;
  /** Written so shortly before we looked that a later write may have left no trace in its times. */
  readonly doubtful: boolean;
}

const tailBytes = 64;
/** Coarser than any file system's clock here. */
const tickNs = 20_000_000n;

export const hashOf = async (bytes: Uint8Array, pace: Pace): Promise<string> => {
  const hash = createHash("sha256");
  for (let from = 0; from < bytes.length; from += bytesAtOnce) {
    const some = bytes.subarray(from, from + bytesAtOnce);
    await pace(some.length);
    hash.update(some);
  }
  return hash.digest("base64");
};

export const sameFacts = (one: FileFacts, other: FileFacts): boolean =>
  one.ino === other.ino &&
  one.size === other.size &&
  one.mtimeNs === other.mtimeNs &&
  one.ctimeNs === other.ctimeNs &&
  one.mode === other.mode;

/** `lookedAt` is milliseconds since 1970, no later than the facts; `lastBytes` are of what the store has. */
export const known = (
  facts: FileFacts,
  looked: Pick<KnownFile, "stored" | "hash"> & { readonly lastBytes: Uint8Array; readonly lookedAt: number },
): KnownFile => ({
  kind: "file",
  facts,
  stored: looked.stored,
  tail: Buffer.from(looked.lastBytes.subarray(Math.max(0, looked.lastBytes.length - tailBytes))),
  hash: looked.hash,
  doubtful: BigInt(looked.lookedAt) * 1_000_000n - facts.ctimeNs < tickNs,
});
