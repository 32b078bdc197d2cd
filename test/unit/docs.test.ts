import { existsSync, readdirSync, readFileSync } from "node:fs";
import { writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { z } from "zod";
import { describeConfig } from "../../src/config/describe.ts";
import { variables } from "../../src/config/environment.ts";
import { formatPath, kindOf, type Path } from "../../src/config/keys.ts";
import { loadConfig } from "../../src/config/load.ts";
import { fileSchema } from "../../src/config/schema.ts";
import { errorTable } from "../../src/kernel/errors.ts";
import { isObject } from "../../src/kernel/json.ts";
import { type TempDir, tempDir } from "../support/temp.ts";

const checkout = fileURLToPath(new URL("../..", import.meta.url));
const read = (path: string): string => readFileSync(join(checkout, path), "utf8");

/** What is made here and not committed (.gitignore). */
const made = new Set(["node_modules", "dist", "coverage", "artifacts", ".git", ".squadron"]);

const filesIn = (directory: string): readonly string[] =>
  readdirSync(join(checkout, directory), { withFileTypes: true }).flatMap((entry) => {
    const path = join(directory, entry.name);
    if (made.has(entry.name) || entry.name.endsWith(".log")) return [];
    return entry.isDirectory() ? filesIn(path) : entry.isFile() ? [path] : [];
  });

/** Rows of all tables of a page, by their first cell without its backticks. */
const rows = (page: string): ReadonlyMap<string, readonly string[]> =>
  new Map(
    page
      .split("\n")
      .filter((line) => line.startsWith("| `"))
      .map((line) => line.split("|").map((cell) => cell.trim().replace(/^`([^`]*)`$/, "$1")))
      .map(([, key = "", ...cells]) => [key, cells]),
  );

/** Every key of the schema that holds a value, with its variable's name when it has one. */
const configKeys = (schema: z.core.$ZodType, path: Path = []): readonly string[] => {
  const kind = kindOf(schema);
  if (kind.kind === "section")
    return Object.entries(kind.keys).flatMap(([key, inner]) => configKeys(inner, [...path, key]));
  const own = [formatPath(path)];
  const item = kind.kind === "collection" ? kindOf(kind.item) : undefined;
  if (item?.kind !== "section") return own;
  return [...own, ...Object.keys(item.keys).map((key) => `${formatPath(path)}[].${key}`)];
};

describe("docs/configuration.md", () => {
  const page = rows(read("docs/configuration.md"));

  it("has every key of the schema, and no other", () => {
    expect([...page.keys()].sort()).toEqual([...configKeys(fileSchema), "defaults"].sort());
  });

  it("names the variable of each", () => {
    const names = new Map(variables.map(({ name, path }) => [formatPath(path), name]));
    for (const [key, cells] of page) {
      if (!key.includes("[]")) expect(cells[2], key).toBe(names.get(key));
    }
  });

  it("tells the defaults as they are", async () => {
    const effective = describeConfig(await loadConfig({ env: {} }));
    const differently = new Set(["node.id", "state.path", "store.url", "defaults"]);
    for (const [key, [, stated]] of page) {
      if (key.includes("[]") || key.startsWith("defaults.provider") || differently.has(key)) continue;
      const value = key
        .split(".")
        .reduce<unknown>((at, step) => (isObject(at) ? at[step] : undefined), effective);
      expect(stated, key).toBe(
        value === undefined ? "none" : typeof value === "string" ? value : JSON.stringify(value),
      );
    }
  });
});

describe("docs/errors.md", () => {
  it("has every code with its numbers, and no other", () => {
    const stated = [...rows(read("docs/errors.md"))].map(([code, [http, rpc]]) => [code, http, rpc]);
    const real = Object.entries(errorTable).map(([code, { http, rpc }]) => [code, String(http), String(rpc)]);
    expect(stated).toEqual(real);
  });
});

describe("docs/dependencies.md", () => {
  it("has a reason for every package of package.json, and for no other", () => {
    const { dependencies, devDependencies } = JSON.parse(read("package.json")) as Record<
      "dependencies" | "devDependencies",
      Record<string, string>
    >;
    expect([...rows(read("docs/dependencies.md")).keys()].sort()).toEqual(
      Object.keys({ ...dependencies, ...devDependencies }).sort(),
    );
  });
});

describe("the README's configuration", () => {
  let directory: TempDir;
  beforeEach(async () => {
    directory = await tempDir("readme");
  });
  afterEach(() => directory.remove());

  it("is right", async () => {
    const [, example = ""] = /```yaml\n([\s\S]*?)```/.exec(read("README.md")) ?? [];
    const secret = join(directory.path, "key");
    await writeFile(secret, "sk-example\n");
    const file = join(directory.path, "squadron.yaml");
    await writeFile(file, example.replace("/run/secrets/model-key", secret));
    const config = await loadConfig({ file, env: { ALICE_KEY: "a", OPS_KEY: "b" } });
    expect(config.auth.keys.map(({ user }) => user)).toEqual(["alice", "root"]);
    expect(config.tenants.acme?.isolation).toBe("tenant");
    expect(config.defaults.provider?.apiKey?.reveal()).toBe("sk-example");
  });
});

describe("the files of the repository", () => {
  const files = filesIn("");

  it("link only to pages that are there", () => {
    const broken = files
      .filter((path) => path.endsWith(".md"))
      .flatMap((path) =>
        [...read(path).matchAll(/\]\(([^)\s]+)\)/g)]
          .map(([, target = ""]) => target.split("#")[0] ?? "")
          .filter((target) => target !== "" && !/^[a-z]+:/.test(target))
          .filter((target) => !existsSync(join(checkout, dirname(path), target)))
          .map((target) => `${path} -> ${target}`),
      );
    expect(broken).toEqual([]);
  });

  it("name no directory of one machine and no package registry", () => {
    // In pieces, or this file would be found.
    const places = new RegExp(
      [`(?<![\\w.~-])/${"work"}/`, `/${"home"}/[a-z]`, `registry\\.(npmjs|yarnpkg)`, `"${"resolved"}":`].join(
        "|",
      ),
    );
    const binary = /\.(png|jpg|ico|woff2)$/;
    // What a box shows to the process in it are no directories of any host.
    const insideBoxes = /\/home\/u\b|\/work\/(mark|file|notes|bobs-file)\b/g;
    const found = files.filter(
      (path) => !binary.test(path) && places.test(read(path).replace(insideBoxes, "")),
    );
    expect(found).toEqual([]);
  });
});
