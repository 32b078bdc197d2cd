/** `npm run bench`: Squadron beside the bare runtime and beside the server guide's own code, in interleaved runs. */
import { writeFile } from "node:fs/promises";
import { parseArgs } from "node:util";
import type { Phase } from "./phase.ts";
import { boxes } from "./phases/boxes.ts";
import { coldStart } from "./phases/cold-start.ts";
import { commitPrice } from "./phases/commit-price.ts";
import { density } from "./phases/density.ts";
import { fanOut } from "./phases/fan-out.ts";
import { lock } from "./phases/lock.ts";
import { memory } from "./phases/memory.ts";
import { nodeStart } from "./phases/node-start.ts";
import { recovery } from "./phases/recovery.ts";
import { turns } from "./phases/turns.ts";
import { wake } from "./phases/wake.ts";
import { startModel } from "./programs.ts";
import { jsonText, markdownText, type Report, reportOf, terminalText } from "./report.ts";
import type { Section } from "./section.ts";

/** By the names of their sections, in the order of the report. */
const phases: Readonly<Record<string, Phase>> = {
  turns,
  "fan-out": fanOut,
  "commit-price": commitPrice,
  lock,
  wake,
  "cold-start": coldStart,
  recovery,
  density,
  memory,
  "node-start": nodeStart,
  boxes,
};

const usage = `Usage: npm run bench -- [--quick] [--json] [--write] [--profile DIR] [PHASE …]
  --quick        a short run
  --json         print JSON instead of tables
  --write        write docs/benchmarks.md as well; only with all phases
  --profile DIR  write the node's processor profile (.cpuprofile) of the turns into DIR; costs time itself
  PHASE          only these: ${Object.keys(phases).join(", ")}`;

const measure = async (
  chosen: readonly (readonly [name: string, phase: Phase])[],
  options: { readonly quick: boolean; readonly profileDirectory: string | undefined },
): Promise<Report> => {
  await using parts = new AsyncDisposableStack();
  const modelUrl = await startModel(parts);
  const sections: Section[] = [];
  for (const [name, phase] of chosen) {
    const startedAt = performance.now();
    process.stderr.write(`${name} …`);
    sections.push(await phase({ modelUrl, ...options }));
    process.stderr.write(` ${((performance.now() - startedAt) / 1000).toFixed(0)} s\n`);
  }
  return reportOf(sections);
};

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    quick: { type: "boolean", default: false },
    json: { type: "boolean", default: false },
    write: { type: "boolean", default: false },
    profile: { type: "string" },
    help: { type: "boolean", default: false },
  },
});
const unknown = positionals.filter((name) => !Object.hasOwn(phases, name));
if (values.help) console.log(usage);
else if (unknown.length > 0 || (values.write && positionals.length > 0)) {
  console.error(usage);
  process.exitCode = 2;
} else {
  const chosen = Object.entries(phases).filter(
    ([name]) => positionals.length === 0 || positionals.includes(name),
  );
  const report = await measure(chosen, { quick: values.quick, profileDirectory: values.profile });
  console.log(values.json ? jsonText(report) : terminalText(report));
  if (values.write) await writeFile(new URL("../docs/benchmarks.md", import.meta.url), markdownText(report));
}
