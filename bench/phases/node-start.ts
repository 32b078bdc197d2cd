import { statSync } from "node:fs";
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { tempDir } from "../../test/support/temp.ts";
import type { NodeSettings } from "../node-control.ts";
import type { Bench, Phase } from "../phase.ts";
import { memoryMiB } from "../processes.ts";
import { inTurn, lists, timed } from "../rounds.ts";
import { startNodeProcess } from "../squadron.ts";
import { median } from "../statistics.ts";
import { fillStore, type Specimen, takeSpecimen } from "../stored-sessions.ts";
import { runTurn, sessionConfig } from "../turns.ts";

const full = { sessions: 10_000, rounds: 7 };
const quick = { sessions: 1_000, rounds: 3 };
const users = 100;
const turnsEach = 2;

const names = ["many", "none"] as const;
type Name = (typeof names)[number];

const storeUrl = (directory: string): string => `sqlite:${join(directory, "squadron.db")}`;

/** A session of two turns, made by a node. */
const makeSpecimen = async (settings: NodeSettings): Promise<Specimen> => {
  await using parts = new AsyncDisposableStack();
  const node = await startNodeProcess(parts, settings);
  const session = await node.client().createSession({ ...sessionConfig(), sessionId: "specimen" });
  for (let turn = 0; turn < turnsEach; turn++) await runTurn(session);
  await session.disconnect();
  await node.end();
  return takeSpecimen(storeUrl(settings.directory), "specimen");
};

interface Start {
  readonly startMs: number;
  readonly memory: number;
  readonly wakeMs: number | undefined;
}

/** Starts a node on a directory; if there are sessions, wakes one of them. */
const start = async (settings: NodeSettings, asked: string | undefined): Promise<Start> => {
  await using parts = new AsyncDisposableStack();
  const node = await startNodeProcess(parts, settings);
  const memory = memoryMiB(node.pid);
  const client = node.client();
  const wakeMs =
    asked === undefined ? undefined : await timed(() => client.resumeSession(asked, sessionConfig()));
  return { startMs: node.startMs, memory, wakeMs };
};

/** How long a node takes to be up with many sessions on file, and what each costs there. */
export const nodeStart: Phase = async ({ modelUrl, quick: isQuick }: Bench) => {
  await using parts = new AsyncDisposableStack();
  const counts = isQuick ? quick : full;
  const directory = parts.use(await tempDir("bench"));
  const settingsIn = async (name: string): Promise<NodeSettings> => {
    const path = join(directory.path, name);
    await mkdir(path);
    return { directory: path, modelUrl, isolation: "shared", users };
  };
  const specimen = await makeSpecimen(await settingsIn("specimen"));
  const settings: Readonly<Record<Name, NodeSettings>> = {
    many: await settingsIn("many"),
    none: await settingsIn("none"),
  };
  await fillStore(storeUrl(settings.many.directory), specimen, { sessions: counts.sessions, users });
  const sizeOf = (name: Name): number => statSync(join(settings[name].directory, "squadron.db")).size;

  const starts = lists<Name, Start>(names);
  for (let round = -1; round < counts.rounds; round++)
    for (const name of inTurn(names, round)) {
      const copy = `copy-${(round + 1) * users}`;
      const done = await start(settings[name], name === "many" ? copy : undefined);
      if (round >= 0) starts[name].push(done);
    }

  const of = (name: Name, figure: (start: Start) => number) => median(starts[name].map(figure));
  const memory = { many: of("many", (one) => one.memory), none: of("none", (one) => one.memory) };
  const grown = memory.many - memory.none;
  const files = specimen.files.reduce((sum, file) => sum + ("bytes" in file ? file.bytes.length : 0), 0);
  return {
    name: "node-start",
    title: `A node with ${counts.sessions.toLocaleString("en")} sessions on file`,
    columns: { many: `${counts.sessions.toLocaleString("en")} sessions`, none: "no session" },
    ratios: [{ head: "ratio", of: "many", to: "none" }],
    rows: [
      {
        figure: "start of the process until its doors are open",
        unit: "ms",
        values: { many: of("many", (one) => one.startMs), none: of("none", (one) => one.startMs) },
        aim: "< 2000",
      },
      { figure: "node's memory then", unit: "MiB", values: memory },
      {
        figure: "the same, for each session",
        unit: "KiB",
        values: { many: grown > 0 ? (grown * 1024) / counts.sessions : "none seen" },
      },
      {
        figure: "first session woken, its runtime to be started",
        unit: "ms",
        values: { many: of("many", (one) => one.wakeMs ?? 0) },
      },
      {
        figure: "database file, for each session",
        unit: "KiB",
        values: { many: (sizeOf("many") - sizeOf("none")) / 1024 / counts.sessions },
        aim: "< 50",
      },
      { figure: "of that, the session's files", unit: "KiB", values: { many: files / 1024 } },
    ],
    counts: `${counts.rounds} starts each; ${counts.sessions.toLocaleString("en")} copies of a session of ${turnsEach} small turns, of ${users} users.`,
    text: `The sessions are copies of one that a node has made, written through the store's own interface: rows, files, turns.
Nothing of them is read when a node starts, and nothing of a hibernated session is in its memory.`,
  };
};
