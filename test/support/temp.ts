import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

export interface TempDir extends AsyncDisposable {
  readonly path: string;
  /** Removes the directory and all that is in it. */
  remove(): Promise<void>;
}

/** A new, empty directory of this test. */
export const tempDir = async (name = "test"): Promise<TempDir> => {
  const path = await mkdtemp(join(tmpdir(), `squadron-${name}-`));
  // A runtime that is just being killed may still create a file: hence the retries.
  const remove = () => rm(path, { recursive: true, force: true, maxRetries: 5, retryDelay: 50 });
  return { path, remove, [Symbol.asyncDispose]: remove };
};
