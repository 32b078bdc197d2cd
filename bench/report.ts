import { cpus, release, totalmem } from "node:os";
import Table from "cli-table3";
import { bundledRuntimeVersion } from "../src/fleet/runtime-version.ts";
import { ratiosOf, type Section, textTable } from "./section.ts";

export interface Report {
  readonly date: string;
  readonly machine: string;
  readonly versions: string;
  readonly sections: readonly Section[];
}

export const reportOf = async (sections: readonly Section[]): Promise<Report> => ({
  date: new Date().toISOString().slice(0, 10),
  machine: `${cpus().length} × ${cpus()[0]?.model ?? "unknown processor"}, ${Math.round(totalmem() / 2 ** 30)} GiB, Linux ${release()}`,
  versions: `Node ${process.versions.node}, Copilot runtime ${await bundledRuntimeVersion()}`,
  sections,
});

export const terminalText = ({ sections, machine, versions }: Report): string => {
  const tables = sections.map((section) => {
    const { heads, align, rows } = textTable(section);
    const table = new Table({ head: [...heads], style: { head: [], border: [] }, colAligns: [...align] });
    for (const row of rows) table.push([...row]);
    return `${section.title}\n${table.toString()}\n${section.counts}`;
  });
  return [...tables, `${machine}; ${versions}`].join("\n\n");
};

/** For programs: the figures with their ratios by name, without the words around them. */
export const jsonText = ({ date, machine, versions, sections }: Report): string =>
  JSON.stringify(
    {
      date,
      machine,
      versions,
      sections: sections.map((section) => ({
        name: section.name,
        counts: section.counts,
        rows: section.rows.map((row) => {
          const ratios = ratiosOf(section, row);
          return {
            ...row,
            ratios: Object.fromEntries(
              section.ratios.map(({ of, to }, index) => [`${of}/${to}`, ratios[index]]),
            ),
          };
        }),
      })),
    },
    undefined,
    2,
  );

const cells = (texts: readonly string[]): string => `| ${texts.join(" | ")} |`;

const markdownSection = (section: Section): string => {
  const { heads, align, rows } = textTable(section);
  const line = `|${align.map((one) => (one === "right" ? "--:" : "---")).join("|")}|`;
  return `## ${section.title}

${section.text}

${[cells(heads), line, ...rows.map(cells)].join("\n")}

${section.counts}
`;
};

export const markdownText = (report: Report): string => `# Benchmarks

Written by \`npm run bench -- --write\` on ${report.date}. Run it on your own machine: the absolute figures are this
machine's, the ratios travel better. Each table compares things that were done in turn in one run: the same unmodified
SDK, the same runtime, the same scripted model without any delay (a process of its own). A model's own time is in none
of these figures; a real model's seconds hide most of the differences between times. Medians (p50) unless told
otherwise. Memory is proportional set size (PSS): a process's own, and its share of what it shares with others.

- Machine: ${report.machine}
- Versions: ${report.versions}

${report.sections.map(markdownSection).join("\n")}`;
