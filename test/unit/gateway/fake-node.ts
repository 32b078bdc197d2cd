import { mkdirSync } from "node:fs";
import { join } from "node:path";
import type { Policy } from "../../../src/config/config.ts";
import { createCoordination } from "../../../src/coordination/coordination.ts";
import type { Fleet, Runtime } from "../../../src/fleet/fleet.ts";
import { createGateway, type Gateway } from "../../../src/gateway/gateway.ts";
import type { ClientLink, Connection } from "../../../src/gateway/vocabulary.ts";
import { SquadronError } from "../../../src/kernel/errors.ts";
import type { Unit } from "../../../src/kernel/isolation.ts";
import type { ModelGateway } from "../../../src/models/model-gateway.ts";
import { fileBoundsOf } from "../../../src/sessions/file-bounds.ts";
import { createUnitStates } from "../../../src/sessions/unit-state.ts";
import { openStore } from "../../../src/store/open-store.ts";
import type { Store } from "../../../src/store/store.ts";
import { createLog } from "../../../src/telemetry/log.ts";
import { createMetrics } from "../../../src/telemetry/metrics.ts";
import { type Envelope, readEnvelope } from "../../../src/wire/envelope.ts";
import type { Peer } from "../../../src/wire/peer.ts";
import { createPendingRequests } from "../../../src/wire/pending-requests.ts";
import { ManualClock } from "../../support/manual-clock.ts";
import { tempDir } from "../../support/temp.ts";
import { testConfig } from "../../support/test-node.ts";

/** A call that the fake runtime was sent and that the test answers. */
export interface RuntimeCall {
  readonly method: string;
  readonly params: Record<string, unknown>;
  answer(result: unknown): void;
  fail(message: string): void;
}

/** A gateway on a real store, with runtimes that are nothing but what the test says. Time is the test's. */
export interface FakeNode extends AsyncDisposable {
  readonly gateway: Gateway;
  readonly store: Store;
  readonly clock: ManualClock;
  /** Every call that reached a runtime, in order. */
  readonly calls: readonly RuntimeCall[];
  /** Units whose runtime the node has killed, in order. */
  readonly killed: readonly string[];
  /** Leaves the calls of this method unanswered, for the test to answer. */
  hold(method: string): void;
  /** The call number `nth` of this method, from 0, as soon as it has come. */
  call(method: string, nth?: number): Promise<RuntimeCall>;
  /** A client of Alice's, or of another user of her tenant. */
  connect(link?: Partial<ClientLink>, user?: string): Connection;
  event(sessionId: string, type: string, data?: unknown): void;
  /** Every runtime dies: requests in flight are rejected, then the gateway is told. */
  crash(): void;
  /** Every runtime is about to die: its pipe is broken, its process has not ended. */
  breakPipes(): void;
}

/** Lets everything run that waits for no timer. */
export const settle = async (): Promise<void> => {
  for (let round = 0; round < 20; round++) await new Promise<void>((resolve) => setImmediate(resolve));
};

interface FakeRuntime {
  readonly runtime: Runtime;
  breakPipe(): void;
  end(): void;
}

const frame = (body: unknown): Envelope => readEnvelope(Buffer.from(JSON.stringify(body)));

export const startFakeNode = async (policy: Partial<Policy> = {}): Promise<FakeNode> => {
  const directory = await tempDir("fake-node");
  const clock = new ManualClock();
  const store = await openStore(`sqlite:${join(directory.path, "squadron.db")}`);
  const log = createLog({ level: "silent" });
  const held = new Set<string>();
  const calls: RuntimeCall[] = [];
  const killed: string[] = [];
  const present = new Map<string, FakeRuntime>();
  let started = 0;
  let messages = 0;

  const defaultAnswer = (method: string): unknown =>
    method === "session.send" ? { messageId: `runtime-message-${++messages}` } : {};

  const startRuntime = (unit: Unit): FakeRuntime => {
    const pending = createPendingRequests(clock);
    const { promise: closed, resolve: close } = Promise.withResolvers<void>();
    let open = true;
    const peer = {
      get open() {
        return open;
      },
      request: (method: string, params: unknown, options = {}) =>
        pending.add(method, options, (id) => {
          const call: RuntimeCall = {
            method,
            params: params as Record<string, unknown>,
            answer: (result) => void pending.settle(frame({ jsonrpc: "2.0", id, result })),
            fail: (message) =>
              void pending.settle(frame({ jsonrpc: "2.0", id, error: { code: -32603, message } })),
          };
          calls.push(call);
          if (!held.has(method)) setImmediate(() => call.answer(defaultAnswer(method)));
        }),
    } as Partial<Peer> as Peer;
    const breakPipe = (): void => {
      open = false;
      pending.rejectAll(undefined);
    };
    let gone = false;
    const end = (): void => {
      if (gone) return;
      gone = true;
      present.delete(unit.key);
      breakPipe();
      close();
      gateway.runtimeClosed(runtime);
    };
    const id = `runtime-${++started}`;
    const homeDirectory = join(directory.path, id, "home");
    const home = join(homeDirectory, ".copilot");
    const workingDirectory = join(directory.path, id, "work");
    for (const path of [home, workingDirectory]) mkdirSync(path, { recursive: true });
    const runtime: Runtime = {
      id,
      unit,
      pid: started,
      home,
      homeDirectory,
      workingDirectory,
      ownsWorkingDirectory: true,
      inside: {
        home: homeDirectory,
        copilotHome: home,
        work: workingDirectory,
        temporary: join(directory.path, id, "tmp"),
      },
      owner: undefined,
      version: "0",
      peer,
      get gone() {
        return gone;
      },
      closed,
      sessionDirectory: (sessionId) => join(home, "session-state", sessionId),
      kill: async () => {
        killed.push(unit.key);
        end();
      },
    };
    return { runtime, breakPipe, end };
  };

  const fleet: Fleet = {
    runtimeFor: async (unit) => {
      const found = present.get(unit.key) ?? startRuntime(unit);
      present.set(unit.key, found);
      return found.runtime;
    },
    find: (unitKey) => present.get(unitKey)?.runtime,
    runtimes: () => [...present.values()].map(({ runtime }) => runtime),
    boundUnits: () => [...present.keys()],
    hasRoomFor: () => true,
    retire: () => true,
    turnBegan: () => () => undefined,
    condition: { kind: "ok" },
    list: () => [],
    release: async (unitKey) => present.get(unitKey)?.runtime.kill(),
    close: async () => undefined,
  };

  const config = testConfig(directory.path, "http://127.0.0.1:1", { policy });
  const noModels = async (): Promise<never> => {
    throw new SquadronError("internal", "There are no models in this test.");
  };
  const { holdings, close: closeCoordination } = createCoordination({
    table: store.leases,
    holder: "fake-node",
    ttlMs: 86_400_000,
    clock,
    onLost: () => undefined,
    onFailure: () => undefined,
  });
  const gateway = createGateway({
    config,
    clock,
    store,
    units: createUnitStates({ store, holdings, log, bounds: fileBoundsOf(config.defaults) }),
    holdings,
    fleet,
    log,
    metrics: createMetrics(),
    models: {
      httpRequestStart: noModels,
      httpRequestChunk: noModels,
      runtimeClosed: () => undefined,
    } as Pick<ModelGateway, "httpRequestStart" | "httpRequestChunk" | "runtimeClosed">,
    webhooks: { answering: async (servers) => servers, ask: noModels, close: async () => undefined },
    modelsOf: async () => [],
    githubRoutes: [],
    runtimeVersion: "0",
  });

  return {
    gateway,
    store,
    clock,
    calls,
    killed,
    hold: (method) => void held.add(method),
    async call(method, nth = 0) {
      for (let round = 0; round < 1000; round++) {
        const found = calls.filter((call) => call.method === method)[nth];
        if (found !== undefined) return found;
        await new Promise<void>((resolve) => setImmediate(resolve));
      }
      throw new Error(`The runtime got no ${method}; it got ${calls.map((call) => call.method).join(", ")}.`);
    },
    connect: (link = {}, user = "alice") =>
      gateway.connect(
        { tenant: "acme", user, roles: ["user"] },
        {
          kind: "sdk",
          notify: () => undefined,
          sendRaw: () => undefined,
          request: async () => ({}),
          close: () => undefined,
          ...link,
        },
        undefined,
        "key_1",
      ),
    event(sessionId, type, data = {}) {
      const event = { id: "e", timestamp: "2026-01-01T00:00:00Z", parentId: null, type, data };
      const told = frame({ jsonrpc: "2.0", method: "session.event", params: { sessionId, event } });
      for (const runtime of fleet.runtimes()) gateway.serve(runtime).notification(told);
    },
    breakPipes() {
      for (const { breakPipe } of present.values()) breakPipe();
    },
    crash() {
      for (const { end } of [...present.values()]) end();
    },
    async [Symbol.asyncDispose]() {
      for (const { end } of [...present.values()]) end();
      await gateway.close();
      await closeCoordination();
      await store.close();
      await directory.remove();
    },
  };
};
