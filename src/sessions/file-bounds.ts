import type { Policy } from "../config/config.ts";

/** What the files of a session may be, and those of a unit; directories and links count as files. */
export interface FileBounds {
  readonly maxBytes: number;
  readonly maxFiles: number;
}

export const fileBoundsOf = ({ limits }: Pick<Policy, "limits">): FileBounds => ({
  maxBytes: limits.maxSizeBytes,
  maxFiles: limits.maxFiles,
});
