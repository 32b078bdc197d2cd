import { readFile } from "node:fs/promises";
import { describe, expect, it } from "vitest";
import { nodeProblem } from "../../../src/cli/node-version.ts";

describe("the check of Node's version", () => {
  it.each(["22.18.0", "22.20.1", "23.0.0", "24.21.0", "100.0.0"])("takes %s", (version) => {
    expect(nodeProblem(version)).toBeUndefined();
  });

  it.each(["20.20.2", "22.17.9", "18.0.0", "9.9.9"])("refuses %s and says what to do", (version) => {
    expect(nodeProblem(version)).toMatch(/needs Node 22\.18\.0 or newer.*nodejs\.org/);
  });

  it("comes before everything else is loaded", async () => {
    const source = (file: string) => readFile(new URL(`../../../src/cli/${file}`, import.meta.url), "utf8");
    const imports = (text: string) => [...text.matchAll(/^import .*from "(.*)";$/gm)].map(([, from]) => from);
    expect(imports(await source("main.ts"))).toEqual(["./node-version.ts"]);
    expect(imports(await source("node-version.ts"))).toEqual([]);
  });

  it("is of the version that package.json asks for", async () => {
    const text = await readFile(new URL("../../../package.json", import.meta.url), "utf8");
    const [, least = ""] = /"node": ">=([\d.]+)"/.exec(text) ?? [];
    expect(nodeProblem(`${least}.0`)).toBeUndefined();
    const [major = 0, minor = 0] = least.split(".").map(Number);
    expect(nodeProblem(`${major}.${minor - 1}.0`)).toBeDefined();
  });
});
