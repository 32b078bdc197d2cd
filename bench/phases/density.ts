import { readdirSync, statSync } from "node:fs";
import { join } from "node:path";
import type { CopilotClient, CopilotSession } from "@github/copilot-sdk";
import { SessionManager } from "../../test/guide/guide-way.ts";
import { startBareRuntime } from "../../test/support/bare-runtime.ts";
import { tempDir } from "../../test/support/temp.ts";
import type { Bench, Phase } from "../phase.ts";
import { descendantsOf, memoryMiB, sumOf } from "../processes.ts";
import { bareProvider } from "../programs.ts";
import type { Row } from "../section.ts";
import { startNodeProcess } from "../squadron.ts";
import { runTurn, sessionConfig } from "../turns.ts";

const full = { sessions: 60 };
const quick = { sessions: 20 };
const turnsEach = 2;

/** MiB of all processes at five moments. */
interface Stay {
  /** With one session that has been used: the price of the processes. */
  readonly first: number;
  /** With the others, of which nobody has used any. */
  readonly idle: number;
  /** With all of them used. */
  readonly live: number;
  /** When all but one have been sent to sleep. */
  readonly asleep: number;
  /** KiB of files that are kept of each. */
  readonly kept: number;
}

/** Opens sessions one after the other, then uses each. */
const stay = async (options: {
  readonly sessions: number;
  readonly memory: () => number;
  readonly open: (name: string) => Promise<CopilotSession>;
  readonly sleep: (opened: readonly CopilotSession[]) => Promise<void>;
  readonly kept: () => Promise<number>;
}): Promise<Stay> => {
  const { sessions, memory, open, sleep, kept } = options;
  const use = async (session: CopilotSession) => {
    for (let turn = 0; turn < turnsEach; turn++) await runTurn(session);
  };
  await use(await open("first"));
  const first = memory();
  const opened: CopilotSession[] = [];
  for (let index = 0; index < sessions; index++) opened.push(await open(`session-${index}`));
  const idle = memory();
  for (const session of opened) await use(session);
  const live = memory();
  await sleep(opened);
  const asleep = memory();
  return { first, idle, live, asleep, kept: await kept() };
};

const throughSquadron = async (
  parts: AsyncDisposableStack,
  { modelUrl }: Bench,
  sessions: number,
): Promise<Stay> => {
  const directory = parts.use(await tempDir("bench"));
  const node = await startNodeProcess(parts, {
    directory: directory.path,
    modelUrl,
    isolation: "shared",
    users: 1,
  });
  const client = node.client();
  return stay({
    sessions,
    memory: () => sumOf([node.pid, ...descendantsOf(node.pid)], memoryMiB),
    open: (sessionId) => client.createSession({ ...sessionConfig(), sessionId }),
    async sleep(opened) {
      await Promise.all(opened.map((session) => session.disconnect()));
      await node.release();
      await node.until(({ runtimes }) => runtimes.length === 0, "no runtime is left");
    },
    async kept() {
      await node.end();
      return statSync(join(directory.path, "squadron.db")).size / 1024 / (sessions + 1);
    },
  });
};

const bytesBelow = (directory: string): number =>
  readdirSync(directory, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .reduce((sum, { parentPath, name }) => sum + statSync(join(parentPath, name)).size, 0);

/** The guide's SessionManager evicts the oldest session when it opens another. */
const byTheGuide = async (
  parts: AsyncDisposableStack,
  { modelUrl }: Bench,
  sessions: number,
): Promise<Stay> => {
  const runtime = parts.use(await startBareRuntime());
  const client: CopilotClient = runtime.bareClient({ mode: "empty" });
  parts.defer(() => client.forceStop());
  const config = sessionConfig(bareProvider(modelUrl));
  const manager = new SessionManager(client, config, sessions + 1);
  return stay({
    sessions,
    memory: () => memoryMiB(runtime.pid),
    open: (sessionId) => manager.getSession(sessionId),
    async sleep() {
      for (let index = 0; index < sessions; index++) await manager.getSession(`later-${index}`);
    },
    // Those that came later have none worth counting.
    kept: async () => bytesBelow(join(runtime.home, "session-state")) / 1024 / (sessions + 1),
  });
};

/** What sessions cost in memory while they live, while nobody uses them, and while they sleep. */
export const density: Phase = async (bench) => {
  await using parts = new AsyncDisposableStack();
  const { sessions } = bench.quick ? quick : full;
  const squadron = await throughSquadron(parts, bench, sessions);
  const guide = await byTheGuide(parts, bench, sessions);
  const row = (figure: string, unit: string, of: (stay: Stay) => number | string, aim = ""): Row => ({
    figure,
    unit,
    values: { squadron: of(squadron), guide: of(guide) },
    aim,
  });
  const perIdle = ({ first, idle }: Stay) => (idle - first) / sessions;
  const perLive = ({ first, live }: Stay) => (live - first) / sessions;
  const perGiB = (of: (stay: Stay) => number) => (stay: Stay) => {
    const each = of(stay);
    return each > 0 ? Math.floor((1024 - stay.first) / each) : "no bound seen";
  };
  const givenBack = ({ first, live, asleep }: Stay) => ((live - asleep) / (live - first)) * 100;
  return {
    name: "density",
    title: "What a session costs in memory",
    columns: { squadron: "Squadron", guide: "guide's SessionManager" },
    ratios: [{ head: "ratio", of: "squadron", to: "guide" }],
    rows: [
      row("all processes with one session", "MiB", ({ first }) => first),
      row("each further session, live, not used yet", "MiB", perIdle),
      row("each further session, live, used", "MiB", perLive),
      row("all processes with all sessions live", "MiB", ({ live }) => live),
      row("all processes when they sleep", "MiB", ({ asleep }) => asleep),
      row("of what the sessions took, given back", "%", givenBack),
      row("live sessions not used yet in 1 GiB", "", perGiB(perIdle)),
      row("live, used sessions in 1 GiB", "", perGiB(perLive)),
      row("kept of a sleeping session", "KiB", ({ kept }) => kept, "< 50"),
    ],
    counts: `${sessions} sessions beside a first one, ${turnsEach} small turns in each.`,
    text: `Node and runtimes together; the bare runtime has no node. Sessions are opened one after the other, then used, then sent
to sleep: through Squadron they leave and the runtime ends, as it does when its sessions are idle; in the guide's way the
\`SessionManager\` evicts each by \`disconnect\` when it opens another, and the runtime lives on. *Kept*: the whole database file
by the number of sessions; the runtime's files. How little a sleeping session costs a node in memory is in the table of
the node's start.`,
  };
};
