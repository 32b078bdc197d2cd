import type { CopilotClient } from "@github/copilot-sdk";
import { startBareRuntime } from "../../test/support/bare-runtime.ts";
import { tempDir } from "../../test/support/temp.ts";
import { type ContenderName, contenderNames, type PerContender, startOverStdio } from "../contenders.ts";
import type { Bench, Phase } from "../phase.ts";
import { bareProvider } from "../programs.ts";
import { inTurn, lists, timed } from "../rounds.ts";
import { startNodeProcess } from "../squadron.ts";
import { percentile } from "../statistics.ts";
import { runTurn, sessionConfig } from "../turns.ts";

const full = { rounds: 25, warmUp: 5, gone: 12 };
const quick = { rounds: 8, warmUp: 1, gone: 4 };
/** After so long without use a session of the node falls asleep. */
const hibernateAfterMs = 100;

/** A sleeping session with two turns, and ways to wake it. Each way ends with the session asleep again. */
interface Sleeper {
  /** What a client waits for that resumes it in a runtime that is there. */
  resume(): Promise<number>;
  /** Until a message to it is answered, there. */
  answer(): Promise<number>;
  /** The same two when its runtime is gone. */
  resumeAnew(): Promise<number>;
  answerAnew(): Promise<number>;
}

const ways = ["resume", "answer", "resumeAnew", "answerAnew"] as const;
type Way = (typeof ways)[number];

const throughSquadron = async (parts: AsyncDisposableStack, modelUrl: string): Promise<Sleeper> => {
  const directory = parts.use(await tempDir("bench"));
  const node = await startNodeProcess(parts, {
    directory: directory.path,
    modelUrl,
    isolation: "shared",
    hibernateAfterMs,
    users: 1,
  });
  // Its session keeps the shared runtime in use.
  const keeper = node.keepersClient();
  const keep = async () => runTurn(await keeper.createSession({ ...sessionConfig(), sessionId: "kept" }));
  await keep();
  const client = node.client();
  const session = await client.createSession({ ...sessionConfig(), sessionId: "sleeper" });
  await runTurn(session);
  await runTurn(session);

  const asleep = () => node.until(({ live }) => live <= 1, "only the keeper's session is live");
  const gone = async () => {
    await node.release();
    await node.until(({ runtimes }) => runtimes.length === 0, "no runtime is left");
  };
  const other = node.client();
  const resume = async (): Promise<number> => {
    const ms = await timed(() => other.resumeSession("sleeper", sessionConfig()));
    await asleep();
    return ms;
  };
  /** Its client has stayed attached all the time. */
  const answer = async (): Promise<number> => {
    const ms = await timed(() => runTurn(session));
    await asleep();
    return ms;
  };
  await asleep();
  return {
    resume,
    answer,
    resumeAnew: async () => {
      await gone();
      const ms = await resume();
      await keep();
      return ms;
    },
    answerAnew: async () => {
      await gone();
      const ms = await answer();
      await keep();
      return ms;
    },
  };
};

/** A bare runtime on files that outlive it. */
interface Bare {
  readonly client: CopilotClient;
  end(): Promise<void>;
}

/** On a bare runtime its program resumes the session first; if it is gone, it starts one on the old files before. */
const onBare = async ({ modelUrl }: Bench, start: () => Promise<Bare>): Promise<Sleeper> => {
  const config = sessionConfig(bareProvider(modelUrl));
  let bare = await start();
  const first = await bare.client.createSession({ ...config, sessionId: "sleeper" });
  await runTurn(first);
  await runTurn(first);
  await first.disconnect();

  const wakeBy = async (isGone: boolean, asks: boolean): Promise<number> => {
    if (isGone) await bare.end();
    const startedAt = performance.now();
    if (isGone) bare = await start();
    const session = await bare.client.resumeSession("sleeper", config);
    if (asks) await runTurn(session);
    const ms = performance.now() - startedAt;
    await session.disconnect();
    return ms;
  };
  return {
    resume: () => wakeBy(false, false),
    answer: () => wakeBy(false, true),
    resumeAnew: () => wakeBy(true, false),
    answerAnew: () => wakeBy(true, true),
  };
};

const overTcp = async (parts: AsyncDisposableStack, bench: Bench): Promise<Sleeper> => {
  const home = parts.use(await tempDir("bench-tcp"));
  return onBare(bench, async () => {
    const runtime = parts.use(await startBareRuntime({ env: { COPILOT_HOME: home.path } }));
    const client = runtime.bareClient({ mode: "empty" });
    return {
      client,
      async end() {
        await client.forceStop();
        await runtime.stop();
      },
    };
  });
};

const overStdio = async (parts: AsyncDisposableStack, bench: Bench): Promise<Sleeper> => {
  const home = parts.use(await tempDir("bench-stdio"));
  return onBare(bench, async () => {
    const { client } = await startOverStdio(parts, home.path);
    return { client, end: () => client.forceStop() };
  });
};

/** How long a sleeping session takes to be there again, beside a bare runtime's own resume. */
export const wake: Phase = async (bench) => {
  await using parts = new AsyncDisposableStack();
  const counts = bench.quick ? quick : full;
  const sleepers: PerContender<Sleeper> = {
    squadron: await throughSquadron(parts, bench.modelUrl),
    tcp: await overTcp(parts, bench),
    stdio: await overStdio(parts, bench),
  };
  const times: Record<Way, Record<ContenderName, number[]>> = {
    resume: lists(contenderNames),
    answer: lists(contenderNames),
    resumeAnew: lists(contenderNames),
    answerAnew: lists(contenderNames),
  };
  for (const way of ways) {
    const rounds = way.endsWith("Anew") ? counts.gone : counts.rounds;
    for (let round = -counts.warmUp; round < rounds; round++)
      for (const name of inTurn(contenderNames, round)) {
        const ms = await sleepers[name][way]();
        if (round >= 0) times[way][name].push(ms);
      }
  }
  const row = (figure: string, way: Way, share: number, aim = "") => ({
    figure,
    unit: "ms",
    values: {
      squadron: percentile(times[way].squadron, share),
      tcp: percentile(times[way].tcp, share),
      stdio: percentile(times[way].stdio, share),
    },
    aim,
  });
  return {
    name: "wake",
    title: "Waking a session",
    columns: { squadron: "Squadron", tcp: "bare TCP", stdio: "bare stdio" },
    ratios: [
      { head: "to TCP", of: "squadron", to: "tcp" },
      { head: "to stdio", of: "squadron", to: "stdio" },
    ],
    rows: [
      row("resume, runtime there", "resume", 0.5, "≤ 1.5 ×"),
      row("resume, runtime there, p90", "resume", 0.9),
      row("message until answered, runtime there", "answer", 0.5),
      row("resume, runtime gone", "resumeAnew", 0.5),
      row("message until answered, runtime gone", "answerAnew", 0.5),
    ],
    counts: `A session of two turns and what the messages add; ${counts.rounds} wakes each where the runtime is there, ${counts.gone} where it is gone (${counts.warmUp} before each not counted).`,
    text: `Through Squadron the session is hibernated: its files are in the store, no runtime has it. On the bare runtime its client
has left, so that the runtime has dropped it from its memory. *Resume*: a client's \`resumeSession\`, until it has the
session. *Message*: through Squadron the client is still attached and just sends; on the bare runtime the program has to
resume first. *Runtime gone*: Squadron's runtime has been killed and no spare is there; the bare program starts a runtime
on the old files and connects to it.`,
  };
};
