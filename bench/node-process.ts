/** A Squadron node in a process of its own, so that its costs can be told from the benchmark's. */
import { Secret } from "../src/kernel/secret.ts";
import { type SquadronNode, startNode } from "../src/node.ts";
import { newSession } from "../src/sessions/new-session.ts";
import { testConfig } from "../test/support/test-node.ts";
import {
  keeper,
  type NodeAnswer,
  type NodeCommand,
  type NodeFigures,
  type NodeSettings,
  type NodeUp,
  tenant,
  userKey,
  userName,
} from "./node-control.ts";
import { watchStore } from "./store-work.ts";

const { BENCH_NODE: text } = process.env;
if (text === undefined || process.send === undefined)
  throw new Error("This program is started by bench/squadron.ts.");
const settings: NodeSettings = JSON.parse(text);
const send = (message: NodeUp | NodeAnswer): void => void process.send?.(message);

const configure = () => {
  const config = testConfig(settings.directory, settings.modelUrl, {
    isolation: settings.isolation,
    ...(settings.leaseTtlMs !== undefined && { leaseTtlMs: settings.leaseTtlMs }),
    ...(settings.storeOf !== undefined && { storeOf: settings.storeOf }),
    ...(settings.runtimes && { runtimes: settings.runtimes }),
    keys: [
      { ...keeper, key: new Secret(keeper.key), roles: ["user"] },
      ...Array.from({ length: settings.users }, (_, index) => ({
        key: new Secret(userKey(index)),
        tenant,
        user: userName(index),
        roles: ["user"] as const,
      })),
    ],
  });
  const { hibernateAfterMs = config.defaults.sessions.hibernateAfterMs } = settings;
  const own = { ...config.defaults, sessions: { ...config.defaults.sessions, hibernateAfterMs } };
  return { ...config, tenants: { [tenant]: own } };
};

const makeUnkept = async ({ store }: SquadronNode, name: string): Promise<void> => {
  const owner = { tenant, user: userName(0) };
  await store.sessions.create(
    { ...newSession(owner, settings.isolation, Date.now()), ephemeral: true },
    name,
  );
};

const node = await startNode(configure());
const storeWork = watchStore(node.store);

const figures = (): NodeFigures => ({
  store: storeWork(),
  live: node.gateway.hosts.filter(({ life }) => life === "live").length,
  runtimes: node.fleet
    .list()
    .flatMap(({ pid, unitKey, state }) =>
      pid === undefined ? [] : [{ pid, user: unitKey?.split("/").at(-1), spare: state === "spare" }],
    ),
});

const obey = async (command: NodeCommand): Promise<void> => {
  switch (command.kind) {
    case "figures":
      return;
    case "release":
      await Promise.all(node.fleet.boundUnits().map((unit) => node.fleet.release(unit)));
      return;
    case "make-unkept":
      return makeUnkept(node, command.name);
  }
};

process.on("message", ({ id, command }: { readonly id: number; readonly command: NodeCommand }) => {
  obey(command).then(
    () => send({ id, figures: figures() }),
    (error) => send({ id, error: String(error) }),
  );
});
process.once("disconnect", () => {
  node.close().then(
    () => process.exit(0),
    (error) => {
      console.error(error);
      process.exit(1);
    },
  );
});
send({ port: node.sdk.port, httpPort: node.http.port });
