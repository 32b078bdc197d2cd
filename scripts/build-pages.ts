/**
 * Builds the pages for browsers (src/pages) into dist/pages, with a compressed copy beside each file. With `--if-needed` only
 * when their sources are others than those of what is there.
 */
import { createHash } from "node:crypto";
import { mkdir, mkdtemp, readdir, readFile, rename, rm, writeFile } from "node:fs/promises";
import { join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs, promisify } from "node:util";
import { brotliCompress, constants, gzip } from "node:zlib";

const root = fileURLToPath(new URL("..", import.meta.url));
const sources = join(root, "src", "pages");
const built = join(root, "dist", "pages");
/** What the pages are made of beside their own sources. */
const others = ["package-lock.json", "vite.config.ts", "scripts/build-pages.ts"];
const stampName = ".sources";

const filesIn = async (directory: string): Promise<string[]> => {
  const entries = await readdir(directory, { recursive: true, withFileTypes: true });
  return entries.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name));
};

const stampOf = async (): Promise<string> => {
  const hash = createHash("sha256");
  const files = [...(await filesIn(sources)), ...others.map((name) => join(root, name))];
  for (const file of files.sort()) hash.update(`${relative(root, file)}\0`).update(await readFile(file));
  return hash.digest("hex");
};

const compressed = /\.(html|js|css|svg)$/;

const compressAll = async (directory: string): Promise<void> => {
  for (const file of (await filesIn(directory)).filter((name) => compressed.test(name))) {
    const bytes = await readFile(file);
    const params = { [constants.BROTLI_PARAM_QUALITY]: constants.BROTLI_MAX_QUALITY };
    await writeFile(`${file}.br`, await promisify(brotliCompress)(bytes, { params }));
    await writeFile(`${file}.gz`, await promisify(gzip)(bytes, { level: constants.Z_BEST_COMPRESSION }));
  }
};

// Whatever it is run by: a page for development is three times as large.
process.env.NODE_ENV = "production";
const { values } = parseArgs({ options: { "if-needed": { type: "boolean", default: false } } });
const stamp = await stampOf();
const stampThere = (): Promise<string> => readFile(join(built, stampName), "utf8").catch(() => "");

if (!values["if-needed"] || (await stampThere()) !== stamp) {
  await mkdir(join(root, "dist"), { recursive: true });
  // Several that build at once do not disturb each other.
  const fresh = await mkdtemp(join(root, "dist", ".pages-"));
  try {
    // It is large, and mostly there is nothing to be built.
    const { build } = await import("vite");
    const outDir = join(fresh, "chat");
    await build({ configFile: join(root, "vite.config.ts"), root: join(sources, "chat"), build: { outDir } });
    await compressAll(fresh);
    await writeFile(join(fresh, stampName), stamp);
    await rm(built, { recursive: true, force: true });
    await rename(fresh, built);
  } catch (error) {
    await rm(fresh, { recursive: true, force: true });
    if ((await stampThere()) !== stamp) throw error;
  }
}
