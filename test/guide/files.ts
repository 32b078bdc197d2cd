import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";

/** The files under a directory, at any depth, in which this text stands. A file that goes away meanwhile counts as absent. */
export const filesWith = async (directory: string, text: string): Promise<readonly string[]> => {
  const entries = await readdir(directory, { recursive: true, withFileTypes: true });
  const found = await Promise.all(
    entries
      .filter((entry) => entry.isFile())
      .map(async (entry) => {
        const path = join(entry.parentPath, entry.name);
        const content = await readFile(path).catch((error) => {
          if (error instanceof Error && "code" in error && error.code === "ENOENT") return "";
          throw error;
        });
        return content.includes(text) ? [path] : [];
      }),
  );
  return found.flat();
};
