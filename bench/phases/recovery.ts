import type { CopilotClient, CopilotSession, ProviderConfig } from "@github/copilot-sdk";
import { startBareRuntime } from "../../test/support/bare-runtime.ts";
import { tempDir } from "../../test/support/temp.ts";
import { eventually } from "../../test/support/wait.ts";
import { userName } from "../node-control.ts";
import type { Bench, Phase } from "../phase.ts";
import { bareProvider } from "../programs.ts";
import { timed } from "../rounds.ts";
import { type BenchNode, startNodeProcess } from "../squadron.ts";
import { median, percentile } from "../statistics.ts";
import { runTurn, sessionConfig } from "../turns.ts";

const full = { kills: 12, stops: 2 };
const quick = { kills: 4, stops: 1 };

/** Runs for longer than anybody waits here. */
const longPrompt = "[[tokens 2000]] [[delay 50]]";
/** What the bare program has set as its own timeout. */
const bareTimeoutMs = 5_000;
const longestMs = 30_000;

/** A session in the middle of a long turn; `settled` resolves when its call has, however that went. */
const midTurn = async (
  client: CopilotClient,
  provider: ProviderConfig | undefined,
  timeoutMs: number,
): Promise<{ readonly session: CopilotSession; readonly settled: Promise<unknown> }> => {
  const session = await client.createSession(sessionConfig(provider));
  await runTurn(session);
  const begun = new Promise<void>((resolve) => {
    session.on("assistant.message_delta", () => resolve());
  });
  const settled = session.sendAndWait({ prompt: longPrompt }, timeoutMs).catch((error: unknown) => error);
  await begun;
  return { session, settled };
};

const runtimeOf = async (node: BenchNode, user: number): Promise<number> => {
  const { runtimes } = await node.figures();
  const runtime = runtimes.find((one) => one.user === userName(user));
  if (runtime === undefined) throw new Error(`User ${user} has no runtime.`);
  return runtime.pid;
};

interface Recovery {
  readonly settledMs: number;
  readonly answeredMs: number;
}

/** Hurts a user's runtime in the middle of a turn. */
const recover = async (node: BenchNode, user: number, signal: "SIGKILL" | "SIGSTOP"): Promise<Recovery> => {
  const { session, settled } = await midTurn(node.client(user), undefined, longestMs);
  const pid = await runtimeOf(node, user);
  const startedAt = performance.now();
  process.kill(pid, signal);
  await settled;
  const settledMs = performance.now() - startedAt;
  await eventually(async () => (await runTurn(session)) && true, {
    what: "the session answers again",
    deadlineMs: longestMs,
  });
  return { settledMs, answeredMs: performance.now() - startedAt };
};

const onBare = async ({
  modelUrl,
}: Bench): Promise<{ readonly settledMs: number; readonly answers: boolean }> => {
  await using runtime = await startBareRuntime();
  const client = runtime.bareClient({ mode: "empty" });
  try {
    const { session, settled } = await midTurn(client, bareProvider(modelUrl), bareTimeoutMs);
    process.kill(runtime.pid, "SIGKILL");
    const settledMs = await timed(() => settled);
    const answers = await session.sendAndWait({ prompt: "[[echo again]]" }, bareTimeoutMs).then(
      () => true,
      () => false,
    );
    return { settledMs, answers };
  } finally {
    await client.forceStop();
  }
};

/** What a client waits for when the runtime under its turn dies or hangs. */
export const recovery: Phase = async (bench) => {
  await using parts = new AsyncDisposableStack();
  const counts = bench.quick ? quick : full;
  const directory = parts.use(await tempDir("bench"));
  const node = await startNodeProcess(parts, {
    directory: directory.path,
    modelUrl: bench.modelUrl,
    isolation: "user",
    runtimes: { spares: 2 },
    users: counts.kills + counts.stops,
  });
  const spared = () =>
    node.until(({ runtimes }) => runtimes.filter(({ spare }) => spare).length === 2, "two spares are there");
  const killed: Recovery[] = [];
  for (let user = 0; user < counts.kills; user++) {
    await spared();
    killed.push(await recover(node, user, "SIGKILL"));
  }
  const stopped: Recovery[] = [];
  for (let user = counts.kills; user < counts.kills + counts.stops; user++) {
    await spared();
    stopped.push(await recover(node, user, "SIGSTOP"));
  }
  const bare = await onBare(bench);
  const hangs = `hangs (its own timeout: ${(bare.settledMs / 1000).toFixed(0)} s)`;
  const dead = bare.answers ? "answers" : "never";
  const settledOf = (all: readonly Recovery[]) => all.map(({ settledMs }) => settledMs);
  const answeredOf = (all: readonly Recovery[]) => all.map(({ answeredMs }) => answeredMs);
  return {
    name: "recovery",
    title: "When a runtime dies under a turn",
    columns: { squadron: "Squadron", bare: "bare TCP" },
    ratios: [],
    rows: [
      {
        figure: "kill -9 until the call has settled",
        unit: "ms",
        values: { squadron: median(settledOf(killed)), bare: hangs },
        aim: "≤ 2000",
      },
      {
        figure: "the same, slowest",
        unit: "ms",
        values: { squadron: percentile(settledOf(killed), 1), bare: hangs },
        aim: "≤ 2000",
      },
      {
        figure: "kill -9 until the next message is answered",
        unit: "ms",
        values: { squadron: median(answeredOf(killed)), bare: dead },
      },
      {
        figure: "SIGSTOP until the call has settled",
        unit: "ms",
        values: { squadron: median(settledOf(stopped)) },
      },
      {
        figure: "SIGSTOP until the next message is answered",
        unit: "ms",
        values: { squadron: median(answeredOf(stopped)) },
      },
    ],
    counts: `${counts.kills} runtimes killed and ${counts.stops} stopped, each another user's, each within a turn; two spares.`,
    text: `A runtime is hurt while it streams an answer. Through Squadron the call fails as an interrupted turn, and the client asks
again in the same session, on the same connection. On a bare runtime the SDK's call hangs until its own timeout, and the
session object never answers again: its program has to start a runtime, connect and resume by itself. A stopped runtime
is found by the probe (here and by default every 5 s), so that one has to wait for the next probe and for its deadline.`,
  };
};
