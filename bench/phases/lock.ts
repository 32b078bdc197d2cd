import { setTimeout as sleep } from "node:timers/promises";
import type { CopilotClient, CopilotSession } from "@github/copilot-sdk";
import { createCoordination } from "../../src/coordination/coordination.ts";
import type { Leases } from "../../src/coordination/leases.ts";
import { systemClock } from "../../src/kernel/clock.ts";
import { openStore } from "../../src/store/open-store.ts";
import { type GuideRedis, withSessionLock } from "../../test/guide/guide-way.ts";
import { type BareRuntime, startBareRuntime } from "../../test/support/bare-runtime.ts";
import { startRedis } from "../../test/support/redis.ts";
import { tempDir } from "../../test/support/temp.ts";
import type { Bench, Phase } from "../phase.ts";
import { bareProvider } from "../programs.ts";
import { inTurn, lists, timed } from "../rounds.ts";
import { startNodeProcess } from "../squadron.ts";
import { median, percentile } from "../statistics.ts";
import { runTurn, sessionConfig } from "../turns.ts";

const full = { turns: 120, handOvers: 60, races: 8 };
const quick = { turns: 30, handOvers: 15, races: 2 };

/** What those who are refused by the guide's lock wait before they come again; ours look as often in another node's line. */
const retryMs = 100;
/** So that a turn outlasts the time of a lock in a benchmark. */
const ttlMs = 1_000;
const longPrompt = "[[echo long]] [[tokens 30]] [[delay 60]]";
const shortPrompt = "[[echo short]]";

const names = ["lease", "redis", "none"] as const;
type Name = (typeof names)[number];

/** Holds the session while the work is done. */
type Lock = <T>(id: string, work: () => Promise<T>) => Promise<T>;

const underLease =
  (leases: Leases): Lock =>
  async (id, work) => {
    const lease = await leases.acquire(id, { waitMs: 60_000 });
    try {
      return await work();
    } finally {
      await lease.release();
    }
  };

const isInUse = (error: unknown): boolean =>
  error instanceof Error && error.message === "Session is in use by another user";

/** The guide's, tried again by whoever is refused. */
const underRedis =
  (redis: GuideRedis, timeoutSec?: number): Lock =>
  async (id, work) => {
    for (;;) {
      try {
        return await withSessionLock(redis, id, work, timeoutSec);
      } catch (error) {
        if (!isInUse(error)) throw error;
        await sleep(retryMs);
      }
    }
  };

/** From the end of one holder's work to the beginning of the next one's, who has come meanwhile. */
const handOver = async (one: Lock, other: Lock, id: string): Promise<number> => {
  const held = Promise.withResolvers<void>();
  const end = Promise.withResolvers<void>();
  const first = one(id, async () => {
    held.resolve();
    await end.promise;
  });
  await held.promise;
  let begunAt = 0;
  const next = other(id, async () => {
    begunAt = performance.now();
  });
  // It is in the line, or has been refused, by then; whoever comes again is met at any moment of its pause.
  await sleep(retryMs / 2 + Math.random() * retryMs);
  const endedAt = performance.now();
  end.resolve();
  await Promise.all([first, next]);
  return begunAt - endedAt;
};

interface Race {
  /** The second one was let in while the first one's turn ran. */
  readonly overlapped: boolean;
  /** Answers that somebody was given and that the second one's history does not have. */
  readonly missing: number;
}

const answersOf = async (session: CopilotSession): Promise<readonly string[]> =>
  (await session.getEvents()).flatMap((event) =>
    event.type === "assistant.message" ? [event.data.content] : [],
  );

const judge = async (told: readonly string[], seen: CopilotSession, overlapped: boolean): Promise<Race> => {
  const answers = await answersOf(seen);
  return { overlapped, missing: told.filter((one) => !answers.includes(one)).length };
};

const ask = async (session: CopilotSession, prompt: string): Promise<string> =>
  (await session.sendAndWait({ prompt }, 60_000))?.data.content ?? "";

/** Two servers of the guide, on one directory, want one session; the first one's turn takes longer than its lock. */
const guideRace = async (
  clients: readonly [CopilotClient, CopilotClient],
  locks: readonly [Lock, Lock],
  modelUrl: string,
  id: string,
): Promise<Race> => {
  const config = sessionConfig(bareProvider(modelUrl));
  const first = await clients[0].createSession({ ...config, sessionId: id });
  await ask(first, shortPrompt);
  let running = true;
  const begun = Promise.withResolvers<void>();
  const long = locks[0](id, async () => {
    begun.resolve();
    const answer = await ask(first, longPrompt);
    running = false;
    return answer;
  });
  await begun.promise;
  const entered = await locks[1](id, async () => {
    const overlapped = running;
    const session = await clients[1].resumeSession(id, config);
    return { overlapped, session, answer: await ask(session, "[[echo second]]") };
  });
  const race = await judge([await long, entered.answer], entered.session, entered.overlapped);
  await Promise.all([first.disconnect(), entered.session.disconnect()]);
  return race;
};

/** The same with two nodes on one store. */
const ourRace = async (clients: readonly [CopilotClient, CopilotClient], id: string): Promise<Race> => {
  const first = await clients[0].createSession({ ...sessionConfig(), sessionId: id });
  await ask(first, shortPrompt);
  let running = true;
  const long = ask(first, longPrompt).then(async (answer) => {
    running = false;
    await first.disconnect();
    return answer;
  });
  const enter = async (): Promise<CopilotSession> => {
    for (;;) {
      try {
        return await clients[1].resumeSession(id, sessionConfig());
      } catch (error) {
        if (!(error instanceof Error && /Another node has this session/.test(error.message))) throw error;
        await sleep(retryMs);
      }
    }
  };
  const second = await enter();
  const overlapped = running;
  const answer = await ask(second, "[[echo second]]");
  const race = await judge([await long, answer], second, overlapped);
  await second.disconnect();
  return race;
};

const coordinationOn = async (parts: AsyncDisposableStack, path: string, holder: string) => {
  const store = await openStore(`sqlite:${path}`);
  parts.defer(() => store.close());
  const coordination = createCoordination({
    table: store.leases,
    holder,
    ttlMs: 15_000,
    clock: systemClock,
    onLost: (name) => {
      throw new Error(`The lease ${name} was lost.`);
    },
    onFailure: (error) => {
      throw error;
    },
  });
  parts.defer(() => coordination.close());
  return coordination.leases;
};

const startPair = async (parts: AsyncDisposableStack): Promise<readonly [BareRuntime, BareRuntime]> => {
  const one = parts.use(await startBareRuntime());
  const other = parts.use(await startBareRuntime({ env: { COPILOT_HOME: one.home } }));
  return [one, other];
};

const clientOf = (parts: AsyncDisposableStack, runtime: BareRuntime): CopilotClient => {
  const client = runtime.bareClient({ mode: "empty" });
  parts.defer(() => client.forceStop());
  return client;
};

const runRaces = async (
  parts: AsyncDisposableStack,
  { modelUrl }: Bench,
  count: number,
  redis: readonly [GuideRedis, GuideRedis],
): Promise<Record<"lease" | "redis", readonly Race[]>> => {
  const pair = await startPair(parts);
  const bare = [clientOf(parts, pair[0]), clientOf(parts, pair[1])] as const;
  const settings = { modelUrl, isolation: "shared", users: 1, leaseTtlMs: ttlMs } as const;
  const [one, other] = [parts.use(await tempDir("bench")), parts.use(await tempDir("bench"))];
  const node = await startNodeProcess(parts, { ...settings, directory: one.path });
  const second = await startNodeProcess(parts, { ...settings, directory: other.path, storeOf: one.path });
  const ours = [node.client(), second.client()] as const;
  const locks = [underRedis(redis[0], ttlMs / 1_000), underRedis(redis[1], ttlMs / 1_000)] as const;
  const races: Record<"lease" | "redis", Race[]> = { lease: [], redis: [] };
  for (let race = 0; race < count; race++) {
    for (const name of inTurn(["lease", "redis"] as const, race)) {
      const id = `race-${race}`;
      races[name].push(
        name === "lease" ? await ourRace(ours, id) : await guideRace(bare, locks, modelUrl, id),
      );
    }
  }
  return races;
};

/** The lease beside the guide's lock in Redis: what each costs, how fast it changes hands, and what it keeps from happening. */
export const lock: Phase = async (bench) => {
  await using parts = new AsyncDisposableStack();
  const counts = bench.quick ? quick : full;
  const directory = parts.use(await tempDir("bench-lock"));
  const path = `${directory.path}/squadron.db`;
  const server = parts.use(await startRedis());
  const redis = [server.connect(), server.connect()] as const;
  const leases = [
    await coordinationOn(parts, path, "one"),
    await coordinationOn(parts, path, "other"),
  ] as const;
  const locks: Record<Name, Lock> = {
    lease: underLease(leases[0]),
    redis: underRedis(redis[0]),
    none: (_id, work) => work(),
  };

  const runtime = parts.use(await startBareRuntime());
  const session = await clientOf(parts, runtime).createSession(sessionConfig(bareProvider(bench.modelUrl)));
  for (let turn = 0; turn < 5; turn++) await runTurn(session);
  const turns = lists<Name>(names);
  const empty = lists<Name>(names);
  for (let turn = 0; turn < counts.turns; turn++) {
    for (const name of inTurn(names, turn)) {
      turns[name].push(await timed(() => locks[name]("priced", () => runTurn(session))));
      empty[name].push(await timed(() => locks[name]("empty", async () => undefined)));
    }
  }

  const near = { lease: [] as number[], redis: [] as number[] };
  const far = { lease: [] as number[], redis: [] as number[] };
  const others = { lease: underLease(leases[1]), redis: underRedis(redis[1]) };
  for (let at = 0; at < counts.handOvers; at++) {
    for (const name of inTurn(["lease", "redis"] as const, at)) {
      near[name].push(await handOver(locks[name], locks[name], `near-${at}`));
      far[name].push(await handOver(locks[name], others[name], `far-${at}`));
    }
  }

  const races = await runRaces(parts, bench, counts.races, redis);
  const row = (figure: string, unit: string, of: (name: "lease" | "redis") => number) => ({
    figure,
    unit,
    values: { lease: of("lease"), redis: of("redis") },
  });
  const overlapsOf = (all: readonly Race[]) => all.filter(({ overlapped }) => overlapped).length;
  const missingOf = (all: readonly Race[]) => all.reduce((sum, { missing }) => sum + missing, 0);
  return {
    name: "lock",
    title: "The lease, and the guide's lock",
    columns: { lease: "lease", redis: "Redis lock" },
    ratios: [{ head: "ratio", of: "lease", to: "redis" }],
    rows: [
      row("taken and given up", "ms", (name) => median(empty[name])),
      row("the same, p99", "ms", (name) => percentile(empty[name], 0.99)),
      row("a bare turn under it", "ms", (name) => median(turns[name])),
      row("more than the same turn without", "ms", (name) => median(turns[name]) - median(turns.none)),
      row("hand-over within a server", "ms", (name) => median(near[name])),
      row("the same, p99", "ms", (name) => percentile(near[name], 0.99)),
      row("hand-over to another server", "ms", (name) => median(far[name])),
      row("the same, p99", "ms", (name) => percentile(far[name], 0.99)),
      { figure: "a holder that died lets go after", unit: "", values: { lease: "15 s", redis: "300 s" } },
      row("races of two servers", "", () => counts.races),
      row("a second one let in during a turn", "", (name) => overlapsOf(races[name])),
      row("answers told and not in the history", "", (name) => missingOf(races[name])),
    ],
    counts: `${counts.turns} turns and as many empty holds each, in turn; ${counts.handOvers} hand-overs of each kind; ${counts.races} races, in which a turn takes about twice as long as the lock lasts (${ttlMs} ms there).`,
    text: `The same turns of one bare runtime over TCP under our lease in the embedded store, under the guide's lock in a Redis on
this machine, and under none. A node takes the lease once when a session wakes and keeps it while it is live, so that a
turn costs none of this; here each turn takes and gives it up, as the guide does. A lease is a durable write; the lock is
in Redis's memory. Who is refused by the guide's lock gets an exception; here it comes again every ${retryMs} ms, and the line of
our lease is looked at as often by another process. In a race the first server's turn takes longer than the lock lasts:
the guide's is not renewed, so that the second server enters, and both write one directory. The time after which a dead
holder lets go is what is configured, not measured.`,
  };
};
