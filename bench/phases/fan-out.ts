import type { CopilotSession } from "@github/copilot-sdk";
import { startBareRuntime } from "../../test/support/bare-runtime.ts";
import { tempDir } from "../../test/support/temp.ts";
import { type Audience, type Heard, startListeners } from "../listener-control.ts";
import { userKey, userName } from "../node-control.ts";
import type { Bench, Phase } from "../phase.ts";
import { cpuMs } from "../processes.ts";
import { bareProvider } from "../programs.ts";
import { inTurn, lists } from "../rounds.ts";
import { startNodeProcess } from "../squadron.ts";
import { median } from "../statistics.ts";
import { runTurn, sessionConfig } from "../turns.ts";

const full = { rounds: 3, tokens: 150 };
const quick = { rounds: 1, tokens: 60 };
/** Fifty tokens a second, as models answer. */
const delayMs = 20;
const users = 20;

const contenders = ["s1", "s10", "s100", "s1000", "b1", "b10"] as const;
type Contender = (typeof contenders)[number];
const countOf: Readonly<Record<Contender, number>> = {
  s1: 1,
  s10: 10,
  s100: 100,
  s1000: 1_000,
  b1: 1,
  b10: 10,
};

/** One session with a client that asks in it, and ways for others to listen. */
interface Stage {
  session(): Promise<{ readonly session: CopilotSession; audience(count: number): Promise<Audience> }>;
  /** Of what takes the events to the listeners. */
  cpuMs(): number;
}

const call = async (
  base: string,
  method: string,
  path: string,
  body?: object,
): Promise<Record<string, unknown>> => {
  const response = await fetch(`${base}${path}`, {
    method,
    headers: { authorization: `Bearer ${userKey(0)}`, "content-type": "application/json" },
    ...(body !== undefined && { body: JSON.stringify(body) }),
  });
  if (!response.ok) throw new Error(`${method} ${path}: ${response.status} ${await response.text()}`);
  return (await response.json()) as Record<string, unknown>;
};

const throughSquadron = async (parts: AsyncDisposableStack, modelUrl: string): Promise<Stage> => {
  const directory = parts.use(await tempDir("bench"));
  const node = await startNodeProcess(parts, {
    directory: directory.path,
    modelUrl,
    isolation: "user",
    users,
  });
  const client = node.client();
  return {
    cpuMs: () => cpuMs(node.pid),
    async session() {
      const session = await client.createSession(sessionConfig());
      const { sessions } = await call(node.httpUrl, "GET", "/v1/sessions?limit=1");
      const [{ id }] = sessions as [{ readonly id: string }];
      for (let user = 1; user < users; user++)
        await call(node.httpUrl, "PUT", `/v1/sessions/${id}/participants/${userName(user)}`, {
          role: "reader",
        });
      return {
        session,
        audience: async (count) => ({
          kind: "sse",
          port: Number(new URL(node.httpUrl).port),
          path: `/v1/sessions/${id}/events`,
          keys: Array.from({ length: users }, (_, user) => userKey(user)),
          count,
        }),
      };
    },
  };
};

const onBare = async (parts: AsyncDisposableStack, modelUrl: string): Promise<Stage> => {
  const runtime = parts.use(await startBareRuntime());
  const client = runtime.bareClient({ mode: "empty" });
  parts.defer(async () => void (await client.forceStop()));
  const config = sessionConfig(bareProvider(modelUrl));
  return {
    cpuMs: () => cpuMs(runtime.pid),
    async session() {
      const session = await client.createSession(config);
      return {
        session,
        audience: async (count) => ({
          kind: "sdk",
          port: runtime.port,
          token: runtime.token,
          sessionId: session.sessionId,
          config,
          count,
        }),
      };
    },
  };
};

interface Sample extends Heard {
  readonly cpuMs: number;
}

const measure = async (bench: Bench): Promise<Readonly<Record<Contender, readonly Sample[]>>> => {
  await using parts = new AsyncDisposableStack();
  const { rounds, tokens } = bench.quick ? quick : full;
  const squadron = await throughSquadron(parts, bench.modelUrl);
  const bare = await onBare(parts, bench.modelUrl);
  const listeners = await startListeners(parts);
  const prompt = `[[delay ${delayMs}]] [[tokens ${tokens}]]`;
  const samples = lists<Contender, Sample>(contenders);
  for (let round = 0; round < rounds; round++) {
    for (const name of inTurn(contenders, round)) {
      const stage = name.startsWith("s") ? squadron : bare;
      const { session, audience } = await stage.session();
      await runTurn(session, "[[tokens 5]]");
      await listeners.open(await audience(countOf[name]));
      let deltas = 0;
      const stop = session.on("assistant.message_delta", () => deltas++);
      await runTurn(session, "[[tokens 5]]");
      await listeners.heard(deltas);
      deltas = 0;
      const before = stage.cpuMs();
      await runTurn(session, prompt);
      const heard = await listeners.heard(deltas);
      samples[name].push({ ...heard, cpuMs: stage.cpuMs() - before });
      stop();
      await listeners.close();
      await session.disconnect();
    }
  }
  return samples;
};

/** One streamed answer to many who listen. */
export const fanOut: Phase = async (bench) => {
  const samples = await measure(bench);
  const { rounds, tokens } = bench.quick ? quick : full;
  const of = (value: (sample: Sample) => number) =>
    Object.fromEntries(contenders.map((name) => [name, median(samples[name].map(value))]));
  /** What another listener costs, over what the turn costs with one. */
  const perDelivered = (name: Contender, one: Contender): number => {
    const [many, few] = [name, one].map((which) => ({
      cpu: median(samples[which].map(({ cpuMs }) => cpuMs)),
      delivered: median(samples[which].map(({ delivered }) => delivered)),
    }));
    if (many === undefined || few === undefined) return Number.NaN;
    return ((many.cpu - few.cpu) / (many.delivered - few.delivered)) * 1_000;
  };
  return {
    name: "fan-out",
    title: "One answer to many listeners",
    columns: {
      s1: "1 listener",
      s10: "10",
      s100: "100",
      s1000: "1,000",
      b1: "bare TCP, 1 client",
      b10: "10",
    },
    ratios: [
      { head: "1 to bare", of: "s1", to: "b1" },
      { head: "10 to bare", of: "s10", to: "b10" },
      { head: "1,000 to 1", of: "s1000", to: "s1" },
    ],
    rows: [
      { figure: "from the runtime to a listener", unit: "ms", values: of(({ p50 }) => p50) },
      { figure: "the same, p99", unit: "ms", values: of(({ p99 }) => p99) },
      { figure: "CPU of the turn: node, or bare runtime", unit: "ms", values: of(({ cpuMs }) => cpuMs) },
      {
        figure: "CPU per delivered event, beyond that of one listener",
        unit: "µs",
        values: {
          s100: perDelivered("s100", "s1"),
          s1000: perDelivered("s1000", "s1"),
          b10: perDelivered("b10", "b1"),
        },
      },
    ],
    counts: `${rounds} turns each, of ${tokens} tokens at ${1_000 / delayMs} a second; listeners of ${users} users in a process of their own.`,
    text: `One turn streams while others listen: through Squadron as event streams over HTTP (\`GET …/events\`), on the bare runtime as
attached SDK clients over TCP. The time is that of each \`assistant.message_delta\` from the runtime's own timestamp, which
has whole milliseconds, until the listener has read it. Of one listener's own cost nothing can be told apart from the
turn's. A node's clients are several users', the bare runtime knows none.`,
  };
};
