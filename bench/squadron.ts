import { fork } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import { CopilotClient, RuntimeConnection } from "@github/copilot-sdk";
import { eventually, within } from "../test/support/wait.ts";
import type { NodeAnswer, NodeCommand, NodeFigures, NodeSettings, NodeUp } from "./node-control.ts";
import { keeper, userKey } from "./node-control.ts";
import { ended } from "./programs.ts";

const startDeadlineMs = 60_000;

/** A Squadron node in a process of its own. */
export interface BenchNode {
  readonly pid: number;
  /** From the start of its process until its doors were open, in milliseconds. */
  readonly startMs: number;
  readonly httpUrl: string;
  /** An unmodified SDK client of this user. */
  client(user?: number): CopilotClient;
  keepersClient(): CopilotClient;
  figures(): Promise<NodeFigures>;
  /** Kills every runtime that has a unit. */
  release(): Promise<void>;
  makeUnkept(name: string): Promise<void>;
  /** Waits for what the node's figures shall be. */
  until(seen: (figures: NodeFigures) => boolean, what: string): Promise<NodeFigures>;
  end(): Promise<void>;
}

/** Starts a node, which ends with `parts`. With `profileDirectory` it writes its processor profile there when it ends. */
export const startNodeProcess = async (
  parts: AsyncDisposableStack,
  settings: NodeSettings,
  profileDirectory?: string,
): Promise<BenchNode> => {
  const startedAt = performance.now();
  const child = fork(fileURLToPath(new URL("node-process.ts", import.meta.url)), {
    env: { ...process.env, BENCH_NODE: JSON.stringify(settings) },
    execArgv: profileDirectory === undefined ? [] : ["--cpu-prof", `--cpu-prof-dir=${profileDirectory}`],
  });
  const clients: CopilotClient[] = [];
  const end = async (): Promise<void> => {
    await Promise.all(clients.splice(0).map((client) => client.forceStop()));
    await ended(child, () => child.disconnect());
  };
  parts.defer(end);
  const [up]: [NodeUp] = await within(once(child, "message") as Promise<[NodeUp]>, {
    what: "the node is up",
    deadlineMs: startDeadlineMs,
  });
  const startMs = performance.now() - startedAt;

  let lastId = 0;
  const waiting = new Map<number, (answer: NodeAnswer) => void>();
  child.on("message", (answer: NodeAnswer) => {
    waiting.get(answer.id)?.(answer);
    waiting.delete(answer.id);
  });
  const tell = async (command: NodeCommand): Promise<NodeFigures> => {
    const id = ++lastId;
    const answered = new Promise<NodeAnswer>((resolve) => waiting.set(id, resolve));
    child.send({ id, command });
    const answer = await within(answered, { what: `the node obeys "${command.kind}"`, deadlineMs: 30_000 });
    if ("error" in answer) throw new Error(`The node could not obey "${command.kind}": ${answer.error}`);
    return answer.figures;
  };

  const clientOf = (connectionToken: string): CopilotClient => {
    const connection = RuntimeConnection.forUri(`127.0.0.1:${up.port}`, { connectionToken });
    const client = new CopilotClient({ mode: "empty", connection });
    clients.push(client);
    return client;
  };
  const figures = () => tell({ kind: "figures" });
  return {
    pid: child.pid ?? 0,
    startMs,
    httpUrl: `http://127.0.0.1:${up.httpPort}`,
    client: (user = 0) => clientOf(userKey(user)),
    keepersClient: () => clientOf(keeper.key),
    figures,
    release: () => tell({ kind: "release" }).then(() => undefined),
    makeUnkept: (name) => tell({ kind: "make-unkept", name }).then(() => undefined),
    until: (seen, what) =>
      eventually(
        async () => {
          const now = await figures();
          return seen(now) && now;
        },
        { what, deadlineMs: 60_000 },
      ),
    end,
  };
};
