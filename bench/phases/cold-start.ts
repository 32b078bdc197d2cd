import type { CopilotClient, ProviderConfig } from "@github/copilot-sdk";
import { RuntimeConnection, CopilotClient as SdkClient } from "@github/copilot-sdk";
import { freePorts } from "../../test/guide/guide-machine.ts";
import { CLIPool } from "../../test/guide/guide-way.ts";
import { type BareRuntime, startBareRuntime } from "../../test/support/bare-runtime.ts";
import { tempDir } from "../../test/support/temp.ts";
import type { NodeSettings } from "../node-control.ts";
import type { Bench, Phase } from "../phase.ts";
import { bareProvider } from "../programs.ts";
import { inTurn, lists } from "../rounds.ts";
import { startNodeProcess } from "../squadron.ts";
import { percentile } from "../statistics.ts";
import { runTurn, sessionConfig } from "../turns.ts";

const full = { users: 20, warmUp: 3 };
const quick = { users: 6, warmUp: 2 };

const names = ["shared", "spare", "noSpare", "pool"] as const;
type Name = (typeof names)[number];

/** A new user's beginning: each call is another user. */
interface Beginner {
  /** Untimed: what must be there before. */
  ready(): Promise<unknown>;
  client(user: number): Promise<CopilotClient>;
  readonly provider?: ProviderConfig;
  /** Untimed: gives back what the user had. */
  clear(user: number, client: CopilotClient): Promise<void>;
}

const onNode = async (
  parts: AsyncDisposableStack,
  { modelUrl }: Bench,
  users: number,
  settings: Pick<NodeSettings, "isolation" | "runtimes">,
): Promise<Beginner> => {
  const directory = parts.use(await tempDir("bench"));
  const node = await startNodeProcess(parts, { directory: directory.path, modelUrl, users, ...settings });
  const spares = settings.runtimes?.spares ?? 0;
  return {
    ready: () =>
      node.until(
        ({ runtimes }) => runtimes.filter(({ spare }) => spare).length === spares,
        `${spares} spares are there`,
      ),
    client: async (user) => node.client(user),
    async clear(_, client) {
      await client.stop();
      if (settings.isolation !== "shared") await node.release();
    },
  };
};

/** The guide's pool; what its `releaseUser` leaves running is ended here. */
const inPool = async (parts: AsyncDisposableStack, { modelUrl }: Bench, users: number): Promise<Beginner> => {
  const running = new Map<number, BareRuntime>();
  const firstPort = await freePorts(users);
  let port = firstPort;
  const pool = new CLIPool(
    {
      spawnCLI: async (at) => {
        running.set(at, parts.use(await startBareRuntime({ args: ["--port", String(at)] })));
      },
      newClient(cliUrl) {
        const token = running.get(Number(cliUrl.split(":")[1]))?.token ?? "";
        const connection = RuntimeConnection.forUri(cliUrl, { connectionToken: token });
        return new SdkClient({ mode: "empty", connection });
      },
    },
    firstPort,
  );
  return {
    ready: async () => undefined,
    client: (user) => pool.getClientForUser(String(user)),
    provider: bareProvider(modelUrl),
    async clear(user) {
      await pool.releaseUser(String(user));
      await running.get(port++)?.stop();
    },
  };
};

/** How long a user who has never been there waits for the first answer. */
export const coldStart: Phase = async (bench) => {
  await using parts = new AsyncDisposableStack();
  const counts = bench.quick ? quick : full;
  const users = counts.users + counts.warmUp;
  const beginners: Readonly<Record<Name, Beginner>> = {
    shared: await onNode(parts, bench, users, { isolation: "shared" }),
    spare: await onNode(parts, bench, users, { isolation: "user", runtimes: { spares: 1 } }),
    noSpare: await onNode(parts, bench, users, { isolation: "user" }),
    pool: await inPool(parts, bench, users),
  };
  const created = lists<Name>(names);
  const answered = lists<Name>(names);
  for (let user = 0; user < users; user++) {
    for (const name of inTurn(names, user)) {
      const { ready, client: clientOf, provider, clear } = beginners[name];
      await ready();
      const startedAt = performance.now();
      const client = await clientOf(user);
      const session = await client.createSession(sessionConfig(provider));
      const createdAt = performance.now();
      await runTurn(session);
      const answeredAt = performance.now();
      await clear(user, client);
      if (user < counts.warmUp) continue;
      created[name].push(createdAt - startedAt);
      answered[name].push(answeredAt - startedAt);
    }
  }
  const row = (figure: string, of: Readonly<Record<Name, readonly number[]>>, share: number, aim = "") => ({
    figure,
    unit: "ms",
    values: Object.fromEntries(names.map((name) => [name, percentile(of[name], share)])),
    aim,
  });
  return {
    name: "cold-start",
    title: "The first answer of a new user",
    columns: {
      shared: "warm shared runtime",
      spare: "own runtime, a spare there",
      noSpare: "own runtime, no spare",
      pool: "guide's CLIPool",
    },
    ratios: [
      { head: "spare to shared", of: "spare", to: "shared" },
      { head: "no spare to shared", of: "noSpare", to: "shared" },
      { head: "spare to pool", of: "spare", to: "pool" },
    ],
    rows: [
      row("until answered", answered, 0.5, "spare ≤ 1.3 × shared"),
      row("until answered, p90", answered, 0.9),
      row("until the session is there", created, 0.5),
    ],
    counts: `${counts.users} new users each (${counts.warmUp} before them not counted), one after the other.`,
    text: `From the first call of a user's program until the answer to the first message: connect, create a session, one small turn.
In \`user\` isolation each user has a runtime of their own: with a spare it is there already and has only to be bound;
without one it is started. Beside it \`shared\` isolation, where the runtime is there and has served others, and the
guide's \`CLIPool\`, which starts a bare runtime for each user.`,
  };
};
