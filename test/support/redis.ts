import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { Redis } from "ioredis";
import { newUuid } from "../../src/kernel/ids.ts";
import { installPackages } from "./debian.ts";
import { tempDir } from "./temp.ts";
import { eventually } from "./wait.ts";

/** A Redis server that nobody else uses, or the one of `REDIS_URL`. */
export interface TestRedis extends AsyncDisposable {
  /** For `new Redis(…)`: a URL or the path of a socket. */
  readonly address: string;
  /** Of all keys of this test. */
  readonly keyPrefix: string;
  /** A further connection; it is closed with the server. */
  connect(): Redis;
}

const program = "redis-server";
const isInstalled = (): boolean => spawnSync(program, ["--version"]).status === 0;

/** Starts Debian's `redis-server` on a socket of its own, installed if need be, unless `REDIS_URL` names one. */
export const startRedis = async (): Promise<TestRedis> => {
  const { REDIS_URL: given } = process.env;
  const connections: Redis[] = [];
  const keyPrefix = `${newUuid()}:`;
  const connect = (address: string): Redis => {
    const connection = new Redis(address, { keyPrefix, maxRetriesPerRequest: 2, commandTimeout: 5_000 });
    connections.push(connection);
    return connection;
  };
  const disconnect = (): void => {
    for (const connection of connections) connection.disconnect();
  };
  if (given !== undefined)
    return {
      address: given,
      keyPrefix,
      connect: () => connect(given),
      [Symbol.asyncDispose]: async () => disconnect(),
    };

  const problem = isInstalled() ? "" : installPackages(program);
  if (!isInstalled())
    throw new Error(`These tests need ${program} or the REDIS_URL of a running one.${problem}`);
  const directory = await tempDir("redis");
  const address = join(directory.path, "redis.sock");
  const options = { port: 0, unixsocket: address, save: "", appendonly: "no", dir: directory.path };
  const child = spawn(
    program,
    Object.entries(options).flatMap(([name, value]) => [`--${name}`, String(value)]),
    { stdio: "ignore" },
  );
  const ended = once(child, "exit");
  const killNow = (): void => void child.kill("SIGKILL");
  process.once("exit", killNow);
  const stop = async (): Promise<void> => {
    disconnect();
    killNow();
    await ended;
    process.off("exit", killNow);
    await directory.remove();
  };
  try {
    await eventually(() => existsSync(address), { what: "Redis listens" });
    await connect(address).ping();
  } catch (error) {
    await stop();
    throw error;
  }
  return { address, keyPrefix, connect: () => connect(address), [Symbol.asyncDispose]: stop };
};
