import { cpus, release, totalmem } from "node:os";
import Table from "cli-table3";
import { bundledRuntimeVersion } from "../src/fleet/runtime-version.ts";
import type { ContenderName } from "./contenders.ts";
import type { Counts, Cpu, PerContender } from "./phases.ts";
import { median, percentile } from "./statistics.ts";
import type { TurnSample } from "./turns.ts";

export interface Measurements {
  readonly samples: PerContender<TurnSample[]>;
  readonly cpuPerTurn: PerContender<Cpu>;
  readonly eventRates: PerContender<number[]>;
  readonly turnRates: PerContender<number[]>;
  readonly memory: PerContender<{ readonly gateway: number; readonly runtime: number }>;
}

/** One line of the table. */
export interface Row {
  readonly figure: string;
  readonly unit: string;
  readonly squadron: number;
  readonly tcp: number | undefined;
  readonly stdio: number | undefined;
  readonly aim: string;
}

export interface Report {
  readonly date: string;
  readonly machine: string;
  readonly versions: string;
  readonly counts: Counts;
  readonly rows: readonly (Row & {
    readonly toTcp: number | undefined;
    readonly toStdio: number | undefined;
  })[];
  /** Processor time of the gateway in relation to the runtime's, for the same turns. */
  readonly gatewayShare: number;
}

const rowsOf = (measured: Measurements): Row[] => {
  const { samples, cpuPerTurn, eventRates, turnRates, memory } = measured;
  const row = (figure: string, unit: string, aim: string, of: (name: ContenderName) => number): Row => ({
    figure,
    unit,
    squadron: of("squadron"),
    tcp: of("tcp"),
    stdio: of("stdio"),
    aim,
  });
  const ofTurns = (share: number, time: (sample: TurnSample) => number) => (name: ContenderName) =>
    percentile(samples[name].map(time), share);
  const total = (sample: TurnSample) => sample.totalMs;
  const firstToken = (sample: TurnSample) => sample.firstTokenMs;
  const ours = { tcp: undefined, stdio: undefined };
  return [
    row("turn, p50", "ms", "≤ 0.15 × TCP, ≤ 1.2 × stdio", ofTurns(0.5, total)),
    row("turn, p99", "ms", "", ofTurns(0.99, total)),
    row("first token, p50", "ms", "≤ 0.15 × TCP, ≤ 1.2 × stdio", ofTurns(0.5, firstToken)),
    row("first token, p99", "ms", "", ofTurns(0.99, firstToken)),
    row("events of one long answer", "events/s", "", (name) => median(eventRates[name])),
    row("parallel sessions", "turns/s", "≥ 1 × TCP", (name) => median(turnRates[name])),
    row("runtime CPU per turn", "ms", "", (name) => cpuPerTurn[name].runtime),
    {
      figure: "gateway CPU per turn",
      unit: "ms",
      squadron: cpuPerTurn.squadron.gateway,
      ...ours,
      aim: "≤ 20 % of the runtime's",
    },
    row("runtime memory (PSS) at the end", "MiB", "", (name) => memory[name].runtime),
    {
      figure: "gateway memory (PSS) at the end",
      unit: "MiB",
      squadron: memory.squadron.gateway,
      ...ours,
      aim: "",
    },
  ];
};

const ratio = (value: number, to: number | undefined): number | undefined =>
  to === undefined ? undefined : value / to;

/** Puts what was measured in relation. */
export const reportOf = async (measured: Measurements, counts: Counts): Promise<Report> => {
  const { gateway, runtime } = measured.cpuPerTurn.squadron;
  return {
    date: new Date().toISOString().slice(0, 10),
    machine: `${cpus().length} × ${cpus()[0]?.model ?? "unknown processor"}, ${Math.round(totalmem() / 2 ** 30)} GiB, Linux ${release()}`,
    versions: `Node ${process.versions.node}, Copilot runtime ${await bundledRuntimeVersion()}`,
    counts,
    rows: rowsOf(measured).map((row) => ({
      ...row,
      toTcp: ratio(row.squadron, row.tcp),
      toStdio: ratio(row.squadron, row.stdio),
    })),
    gatewayShare: gateway / runtime,
  };
};

const shown = (value: number | undefined, digits: number): string => value?.toFixed(digits) ?? "–";
const digitsOf = (value: number): number => (value < 100 ? 1 : 0);

const heads = ["", "unit", "Squadron", "bare TCP", "bare stdio", "to TCP", "to stdio", "aim"];
const cellsOf = (row: Report["rows"][number]): string[] => {
  const digits = digitsOf(row.squadron);
  return [
    row.figure,
    row.unit,
    shown(row.squadron, digits),
    shown(row.tcp, digits),
    shown(row.stdio, digits),
    shown(row.toTcp, 2),
    shown(row.toStdio, 2),
    row.aim,
  ];
};

const shareText = ({ gatewayShare }: Report): string =>
  `Gateway CPU per turn is ${(gatewayShare * 100).toFixed(0)} % of its runtime's (aim: at most 20 %).`;

const countsText = ({ counts }: Report): string =>
  `${counts.sessions * counts.turnsPerSession} single turns each, in ${counts.sessions} sessions ` +
  `(not counted: ${counts.warmUpSessions} whole sessions before them, ${counts.warmUpTurns} turns at the beginning of each); ${counts.streams} answers of ${counts.streamTokens} tokens; ` +
  `${counts.parallelRounds} rounds of ${counts.parallelSessions} parallel sessions of ${counts.parallelTurns} turns.`;

export const terminalText = (report: Report): string => {
  const table = new Table({
    head: heads,
    style: { head: [], border: [] },
    colAligns: ["left", "left", "right", "right", "right", "right", "right", "left"],
  });
  for (const row of report.rows) table.push(cellsOf(row));
  return [table.toString(), shareText(report), countsText(report), report.machine, report.versions].join(
    "\n",
  );
};

export const markdownText = (report: Report): string => `# Benchmarks

Written by \`npm run bench -- --write\` on ${report.date}. Run it on your own machine: the absolute times are this
machine's, the ratios travel better.

The same unmodified SDK, the same runtime, the same scripted model without any delay (a process of its own), the same
turns, in one run, turn by turn in turn: through Squadron; on a bare runtime over TCP, as the server guide runs it; on a
bare runtime over stdio. A turn streams an answer of 50 tokens. Ratios are Squadron's figure divided by the other's.

- Machine: ${report.machine}
- Versions: ${report.versions}
- Counts: ${countsText(report)}

| ${heads.join(" | ")} |
|---|---|--:|--:|--:|--:|--:|---|
${report.rows.map((row) => `| ${cellsOf(row).join(" | ")} |`).join("\n")}

${shareText(report)}

Most of a turn's time over bare TCP is Nagle's algorithm meeting delayed acknowledgements: the runtime's socket lacks
\`TCP_NODELAY\` and the SDK writes a frame's header and body apart, so each side waits about 40 ms for the other. Squadron
sets it, writes a frame in one piece and answers an incomplete frame at once. A model's own time is not in these figures;
a real model's seconds hide most of the difference, except in the first token and in turns with many tool calls.
`;
