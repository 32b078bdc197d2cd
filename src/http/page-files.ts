import { createHash } from "node:crypto";
import { readdir, readFile } from "node:fs/promises";
import { extname, join, relative, sep } from "node:path";
import { fileURLToPath } from "node:url";

/** A file of a page as it is sent. */
export interface PageFile {
  readonly type: string;
  readonly etag: string;
  /** By content encoding, the best first; `identity` is always there. */
  readonly bodies: readonly { readonly encoding: "br" | "gzip" | "identity"; readonly bytes: Buffer }[];
}

const types: Readonly<Record<string, string>> = {
  ".html": "text/html; charset=utf-8",
  ".js": "text/javascript; charset=utf-8",
  ".css": "text/css; charset=utf-8",
  ".svg": "image/svg+xml",
};

/** Where `npm run build:pages` puts them: in the package beside our own code, in a checkout under dist. */
export const builtPages = fileURLToPath(
  new URL(import.meta.url.endsWith(".ts") ? "../../dist/pages/" : "../../pages/", import.meta.url),
);

/** Every file of a built page by its path; undefined if it has not been built. */
export const readPage = async (directory: string): Promise<ReadonlyMap<string, PageFile> | undefined> => {
  const entries = await readdir(directory, { recursive: true, withFileTypes: true }).catch(() => []);
  const files = new Map<string, PageFile>();
  for (const entry of entries) {
    const type = types[extname(entry.name)];
    if (!entry.isFile() || type === undefined) continue;
    const path = join(entry.parentPath, entry.name);
    const [identity, br, gzip] = await Promise.all([
      readFile(path),
      readFile(`${path}.br`).catch(() => undefined),
      readFile(`${path}.gz`).catch(() => undefined),
    ]);
    files.set(relative(directory, path).split(sep).join("/"), {
      type,
      etag: createHash("sha256").update(identity).digest("base64url").slice(0, 20),
      bodies: [
        ...(br === undefined ? [] : [{ encoding: "br" as const, bytes: br }]),
        ...(gzip === undefined ? [] : [{ encoding: "gzip" as const, bytes: gzip }]),
        { encoding: "identity", bytes: identity },
      ],
    });
  }
  return files.has("index.html") ? files : undefined;
};
