import { mkdir, writeFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import { inspect } from "node:util";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { stringify } from "yaml";
import { policyOf } from "../../../src/config/config.ts";
import { configNotes, describeConfig } from "../../../src/config/describe.ts";
import { variables } from "../../../src/config/environment.ts";
import { loadConfig } from "../../../src/config/load.ts";
import { SquadronError } from "../../../src/kernel/errors.ts";
import { type TempDir, tempDir } from "../../support/temp.ts";

describe("the configuration", () => {
  let dir: TempDir;

  beforeEach(async () => {
    dir = await tempDir("config");
  });

  afterEach(() => dir.remove());

  const write = async (text: string): Promise<string> => {
    const file = join(dir.path, "squadron.yaml");
    await writeFile(file, text);
    return file;
  };

  const load = async (text: string, env: NodeJS.ProcessEnv = {}) =>
    loadConfig({ file: await write(text), env });

  const problemsOf = async (loading: Promise<unknown>): Promise<readonly string[]> => {
    const error: unknown = await loading.then(
      () => undefined,
      (reason: unknown) => reason,
    );
    if (!(error instanceof SquadronError)) throw new Error("expected config_invalid", { cause: error });
    expect(error.code).toBe("config_invalid");
    const { problems } = error.details;
    for (const problem of Array.isArray(problems) ? problems : []) expect(error.message).toContain(problem);
    return Array.isArray(problems) ? problems : [];
  };

  describe("without anything said", () => {
    it("has the documented defaults", async () => {
      const config = await loadConfig({ env: {} });
      expect(config).toEqual({
        node: { id: expect.stringMatching(/\S-[0-9a-f]{8}$/), drainTimeoutMs: 60_000 },
        sdk: { host: "127.0.0.1", port: 4321, maxFrameBytes: 67_108_864 },
        http: { host: "127.0.0.1", port: 8080, idempotencyTtlMs: 86_400_000 },
        auth: { keys: [] },
        defaults: {
          isolation: "user",
          trusted: false,
          onBusy: "enqueue",
          sessions: {
            ttlMs: 2_592_000_000,
            hibernateAfterMs: 300_000,
            infinite: { enabled: true, backgroundCompactionThreshold: 0.8 },
          },
          limits: {
            turnTimeoutMs: 1_800_000,
            queueLength: 100,
            callbackTimeoutMs: 120_000,
            maxSizeBytes: 268_435_456,
            maxFiles: 50_000,
          },
          allow: {
            all: false,
            models: ["*"],
            provider: false,
            tools: ["custom:*"],
            mcp: { http: false, stdio: false },
            workingDirectories: [],
          },
          httpSessions: { tools: [], mcpServers: {} },
        },
        tenants: {},
        runtimes: {
          command: "auto",
          args: [],
          env: {},
          workingDirectory: "auto",
          startTimeoutMs: 20_000,
          max: 32,
          maxSessions: 50,
          spares: 2,
          probeEveryMs: 5_000,
          recycle: { turns: 2_000, memoryBytes: 1_073_741_824, ageMs: 86_400_000 },
          sandbox: {
            kind: "none",
            network: "host",
            memoryBytes: 2_147_483_648,
            processes: 128,
            cpus: 1,
          },
        },
        models: { connectTimeoutMs: 10_000, idleTimeoutMs: 300_000, retries: 2, caFiles: [] },
        state: { path: resolve(".squadron/state") },
        store: { url: `sqlite:${resolve(".squadron/squadron.db")}` },
        coordination: { leaseTtlMs: 15_000 },
        telemetry: { logLevel: "info" },
      });
    });

    it("is the same for an empty file, and empty sections", async () => {
      const { node: _, ...plain } = await loadConfig({
        env: {},
        overrides: { state: { path: "/s" }, store: { url: "sqlite:/d" } },
      });
      for (const text of ["", "# nothing\n", "sdk:\ndefaults:\n  allow:\ntenants:\nauth:\n", "{}"]) {
        const file = await write(text);
        const config = await loadConfig({
          file,
          env: {},
          overrides: { state: { path: "/s" }, store: { url: "sqlite:/d" } },
        });
        expect(config).toMatchObject(plain);
      }
    });

    it("is frozen to the bottom", async () => {
      const config = await load("tenants: { acme: { allow: { models: [a] } } }");
      expect(Object.isFrozen(config.tenants.acme?.allow.models)).toBe(true);
      expect(Object.isFrozen(config.sdk)).toBe(true);
    });
  });

  describe("in a file", () => {
    it("takes relative paths from the file's directory", async () => {
      const config = await load(`
state: { path: cache }
store: { url: "sqlite:data/s.db" }
runtimes: { command: ./bin/copilot, workingDirectory: work }
models: { caFiles: [ca.pem, /etc/ca.pem] }
defaults: { allow: { workingDirectories: [repos] } }
`);
      expect(config.state.path).toBe(join(dir.path, "cache"));
      expect(config.store.url).toBe(`sqlite:${join(dir.path, "data/s.db")}`);
      expect(config.runtimes.command).toBe(join(dir.path, "bin/copilot"));
      expect(config.runtimes.workingDirectory).toBe(join(dir.path, "work"));
      expect(config.models.caFiles).toEqual([join(dir.path, "ca.pem"), "/etc/ca.pem"]);
      expect(config.defaults.allow.workingDirectories).toEqual([join(dir.path, "repos")]);
      expect((await load("runtimes: { command: copilot }")).runtimes.command).toBe("copilot");
    });

    it("knows limits, spares, recycling, the sandbox and the times of a session", async () => {
      const config = await load(`
node: { drainTimeout: 90s }
runtimes:
  maxSessions: 200
  memory: 8GiB
  spares: 0
  probeEvery: 1s
  recycle: { turns: 500, memory: 512MiB, age: 90d }
  sandbox: { kind: bubblewrap, network: none, memory: 1GiB, processes: 64, cpus: 0.5 }
defaults:
  sessions: { ttl: 400d }
  limits: { maxSize: 1GiB, maxFiles: 2000, sessionsPerUser: 10, sessionsPerTenant: 1000, livePerTenant: 20, turnsPerMinute: 600, turnsPerMinutePerUser: 30 }
tenants: { acme: { sessions: { ttl: 1h }, limits: { sessionsPerUser: 3 } } }
`);
      expect(config.node.drainTimeoutMs).toBe(90_000);
      expect(config.runtimes).toMatchObject({
        maxSessions: 200,
        memoryBytes: 8 * 2 ** 30,
        spares: 0,
        probeEveryMs: 1_000,
        recycle: { turns: 500, memoryBytes: 512 * 2 ** 20, ageMs: 90 * 86_400_000 },
        sandbox: { kind: "bubblewrap", network: "none", memoryBytes: 2 ** 30, processes: 64, cpus: 0.5 },
      });
      expect(config.defaults.sessions.ttlMs).toBe(400 * 86_400_000);
      expect(config.defaults.limits).toMatchObject({
        maxSizeBytes: 2 ** 30,
        maxFiles: 2_000,
        sessionsPerUser: 10,
        sessionsPerTenant: 1000,
        livePerTenant: 20,
        turnsPerMinute: 600,
        turnsPerMinutePerUser: 30,
      });
      expect(policyOf(config, "acme").sessions.ttlMs).toBe(3_600_000);
      expect(policyOf(config, "acme").limits).toMatchObject({ sessionsPerUser: 3, livePerTenant: 20 });
    });

    it("refuses limits that nothing could live within", async () => {
      const problems = await problemsOf(
        load(`
runtimes:
  maxSessions: 0
  spares: -1
  probeEvery: 10ms
  recycle: { memory: 1MiB, age: 400d }
  sandbox: { kind: docker, network: internet, memory: 64MiB, processes: 2, cpus: 0 }
defaults: { sessions: { ttl: 5s }, limits: { maxSize: 1KiB, sessionsPerUser: 0 } }
`),
      );
      expect(problems.map((problem) => problem.replace(/^.*?, /, "")).sort()).toEqual([
        "defaults.limits.maxSize: expected a size such as 512KiB, 64MiB or 2GiB, from 1MiB to 1TiB",
        "defaults.limits.sessionsPerUser: expected a whole number from 1 to 1000000000",
        "defaults.sessions.ttl: expected a duration such as 60s, 5m or 2h, from 1m to 3650d",
        "runtimes.maxSessions: expected a whole number from 1 to 1000000",
        "runtimes.probeEvery: expected a duration such as 60s, 5m or 2h, from 100ms to 24d",
        "runtimes.recycle.age: expected a duration such as 60s, 5m or 2h, from 1m to 365d",
        "runtimes.recycle.memory: expected a size such as 512KiB, 64MiB or 2GiB, from 128MiB to 1TiB",
        "runtimes.sandbox.cpus: expected a number from 0.1 to 1024",
        "runtimes.sandbox.kind: expected one of none, bubblewrap",
        "runtimes.sandbox.memory: expected a size such as 512KiB, 64MiB or 2GiB, from 256MiB to 1TiB",
        "runtimes.sandbox.network: expected one of host, none",
        "runtimes.sandbox.processes: expected a whole number from 32 to 1000000",
        "runtimes.spares: expected a whole number from 0 to 1000",
      ]);
    });

    it("puts a tenant's policy on the defaults, key by key", async () => {
      const config = await load(`
defaults: &policy
  isolation: session
  model: small
  limits: { queueLength: 5, turnTimeout: 1m }
  allow: { models: [a, b], mcp: { http: true } }
tenants:
  acme: { isolation: tenant, limits: { queueLength: 7 }, allow: { models: [c] } }
  same: *policy
  empty:
  __proto__: { model: odd }
`);
      const acme = policyOf(config, "acme");
      expect(acme).toMatchObject({
        isolation: "tenant",
        model: "small",
        limits: { queueLength: 7, turnTimeoutMs: 60_000 },
      });
      expect(acme.allow).toMatchObject({ models: ["c"], mcp: { http: true, stdio: false } });
      expect(policyOf(config, "same")).toEqual(config.defaults);
      expect(policyOf(config, "empty")).toEqual(config.defaults);
      expect(policyOf(config, "other")).toBe(config.defaults);
      expect(policyOf(config, "constructor")).toBe(config.defaults);
      expect(policyOf(config, "__proto__").model).toBe("odd");
      expect(({} as { model?: string }).model).toBeUndefined();
    });

    it("never gives the defaults' key to a tenant's own provider", async () => {
      const config = await load(`
defaults: { provider: { type: openai, baseUrl: "https://a.example/v1", apiKey: default-key, headers: { x-team: t } } }
tenants:
  own: { provider: { type: openai, baseUrl: "https://b.example/v1" } }
  none: { model: x }
`);
      expect(policyOf(config, "own").provider).toEqual({
        type: "openai",
        baseUrl: "https://b.example/v1",
        headers: {},
      });
      expect(policyOf(config, "none").provider?.apiKey?.reveal()).toBe("default-key");
    });

    it("says everything that is wrong at once, with key, line, expectation and what was probably meant", async () => {
      const problems = await problemsOf(
        load(`node: { id: n }
sdk:
  prot: 4321
  port: 99999
htpp: {}
auth:
  keys:
    - { key: k, user: alice, roles: [usr] }
    - { key: k, tenant: "a\\nb", user: bob }
defaults:
  isolation: usser
  onBusy: wait
  limits: { turnTimeout: 30 }
  provider: { type: openai, baseUrl: "ftp://x" }
  sessions: { infinite: { backgroundCompactionThreshold: 80 } }
tenants:
  acme:
    isolaton: user
    limits: { queueLength: none }
    provider: { type: openai }
  "": {}
`),
      );
      expect([...problems].sort()).toEqual(
        [
          'squadron.yaml line 3, sdk.prot: unknown key; did you mean "port"?',
          "squadron.yaml line 4, sdk.port: expected a whole number from 0 to 65535",
          'squadron.yaml line 5, htpp: unknown key; did you mean "http"?',
          "squadron.yaml line 8, auth.keys[0].tenant: is missing: expected a tenant's name: 1 to 128 characters without control characters",
          'squadron.yaml line 8, auth.keys[0].roles[0]: expected one of user, tenant-admin, admin; did you mean "user"?',
          "squadron.yaml line 9, auth.keys[1].tenant: expected a tenant's name: 1 to 128 characters without control characters",
          'squadron.yaml line 11, defaults.isolation: expected one of session, user, tenant, shared; did you mean "user"?',
          "squadron.yaml line 12, defaults.onBusy: expected one of enqueue, reject, interrupt, steer",
          "squadron.yaml line 13, defaults.limits.turnTimeout: expected a duration such as 60s, 5m or 2h, from 1s to 24d",
          "squadron.yaml line 14, defaults.provider.baseUrl: expected an http or https URL without credentials in it",
          "squadron.yaml line 15, defaults.sessions.infinite.backgroundCompactionThreshold: expected a number from 0.01 to 1",
          'squadron.yaml line 18, tenants.acme.isolaton: unknown key; did you mean "isolation"?',
          "squadron.yaml line 19, tenants.acme.limits.queueLength: expected a whole number from 1 to 100000",
          "squadron.yaml line 20, tenants.acme.provider.baseUrl: is missing: expected an http or https URL without credentials in it",
          "squadron.yaml line 21, tenants.: wrong key: expected a tenant's name: 1 to 128 characters without control characters",
        ].sort(),
      );
    });

    it("wants every static key once, and repeats no key in the error", async () => {
      const problems = await problemsOf(
        load(`
auth:
  keys:
    - { key: very-secret-key, tenant: a, user: x }
    - { key: other, tenant: a, user: y }
    - { key: very-secret-key, tenant: b, user: z }
`),
      );
      expect(problems).toEqual([
        "squadron.yaml line 6, auth.keys[2].key: is the same as auth.keys[0].key; every key must be unique",
      ]);
    });

    it("wants one credential for a provider", async () => {
      const both = { type: "openai", baseUrl: "https://a.example", apiKey: "a", bearerToken: "b" };
      expect(await problemsOf(load(stringify({ defaults: { provider: both } })))).toEqual([
        "squadron.yaml line 2, defaults.provider: expected either apiKey or bearerToken, not both",
      ]);
    });

    it("names the line of a syntax error, of a key that is there twice, and never quotes the file", async () => {
      for (const [text, line] of [
        ["sdk:\n  port: [very-secret\nhttp: {}\n", 3],
        ["sdk: {}\nhttp: {}\nsdk: { host: very-secret }\n", 3],
        ["sdk: {}\n] very-secret\n", 2],
        ["sdk: {}\nnode: { id: !very-secret x }\n", 2],
        ["\nsdk: |very-secret\n x", 2],
      ] as const) {
        const problems = await problemsOf(load(text));
        expect(problems[0]).toContain(`squadron.yaml line ${line}`);
        expect(problems.join()).not.toContain("very-secret");
      }
    });

    it("may not use an anchor that is not there", async () => {
      expect(await problemsOf(load("sdk: *very-secret"))).toEqual([
        "squadron.yaml: Unresolved alias (the anchor must be set before the alias)",
      ]);
    });

    it("says what is wrong with the defaults once, not for every tenant", async () => {
      const problems = await problemsOf(
        load("defaults: { toString: 1, isolation: x }\ntenants: { acme: { model: m }, other: }"),
      );
      expect([...problems].sort()).toEqual([
        "squadron.yaml line 1, defaults.isolation: expected one of session, user, tenant, shared",
        "squadron.yaml line 1, defaults.toString: unknown key",
      ]);
    });

    it("must be a section itself", async () => {
      expect(await problemsOf(load("- a\n- b\n"))).toEqual([
        "squadron.yaml: expected keys and values, such as sdk: { port: 4321 }",
      ]);
    });

    it("must be there", async () => {
      const problems = await problemsOf(loadConfig({ file: join(dir.path, "none.yaml"), env: {} }));
      expect(problems).toEqual([`${join(dir.path, "none.yaml")}: cannot be read (ENOENT)`]);
      expect(await problemsOf(loadConfig({ file: dir.path, env: {} }))).toHaveLength(1);
    });
  });

  describe("in variables", () => {
    it("has one name for every key, and no name twice", () => {
      const names = variables.map(({ name }) => name);
      expect(new Set(names).size).toBe(names.length);
      for (const name of [
        "SQUADRON_SDK_PORT",
        "SQUADRON_SDK_MAX_FRAME",
        "SQUADRON_DEFAULTS_ISOLATION",
        "SQUADRON_DEFAULTS_PROVIDER_API_KEY",
        "SQUADRON_DEFAULTS_GITHUB_TOKEN",
        "SQUADRON_DEFAULTS_LIMITS_TURN_TIMEOUT",
        "SQUADRON_DEFAULTS_SESSIONS_INFINITE_ENABLED",
        "SQUADRON_AUTH_KEYS",
        "SQUADRON_TENANTS",
        "SQUADRON_TELEMETRY_LOG_LEVEL",
        "SQUADRON_NODE_DRAIN_TIMEOUT",
        "SQUADRON_RUNTIMES_MAX_SESSIONS",
        "SQUADRON_RUNTIMES_MEMORY",
        "SQUADRON_RUNTIMES_SPARES",
        "SQUADRON_RUNTIMES_PROBE_EVERY",
        "SQUADRON_RUNTIMES_RECYCLE_TURNS",
        "SQUADRON_RUNTIMES_SANDBOX_KIND",
        "SQUADRON_RUNTIMES_SANDBOX_CPUS",
        "SQUADRON_DEFAULTS_SESSIONS_TTL",
        "SQUADRON_DEFAULTS_LIMITS_LIVE_PER_TENANT",
        "SQUADRON_DEFAULTS_ALLOW",
        "SQUADRON_DEFAULTS_ALLOW_ALL",
      ]) {
        expect(names).toContain(name);
      }
    });

    it("goes before the file, and options before both", async () => {
      const file = await write(
        "sdk: { port: 1, host: 127.0.0.2 }\nhttp: { port: 2 }\ndefaults: { isolation: tenant }",
      );
      const config = await loadConfig({
        file,
        env: { SQUADRON_SDK_PORT: "5", SQUADRON_HTTP_PORT: "6", SQUADRON_DEFAULTS_ISOLATION: "" },
        overrides: { http: { port: 7 } },
      });
      expect(config.sdk).toMatchObject({ host: "127.0.0.2", port: 5 });
      expect(config.http.port).toBe(7);
      expect(config.defaults.isolation).toBe("tenant");
    });

    it("reads numbers, yes and no, texts that look like numbers, lists and sections", async () => {
      const config = await loadConfig({
        env: {
          SQUADRON_NODE_ID: "123",
          SQUADRON_DEFAULTS_SESSIONS_INFINITE_ENABLED: "false",
          SQUADRON_DEFAULTS_SESSIONS_INFINITE_BACKGROUND_COMPACTION_THRESHOLD: "0.5",
          SQUADRON_DEFAULTS_ALLOW_MODELS: '["a", "b*"]',
          SQUADRON_DEFAULTS_PROVIDER: "{ type: openai, baseUrl: 'https://a.example' }",
          SQUADRON_DEFAULTS_PROVIDER_API_KEY: "12345",
          SQUADRON_AUTH_KEYS: '[{"key":"k","tenant":"acme","user":"alice"}]',
          SQUADRON_TENANTS: '{"acme":{"isolation":"shared"}}',
          SQUADRON_RUNTIMES_ENV: '{"HTTPS_PROXY":"http://p:1"}',
          SQUADRON_RUNTIMES_MEMORY: "2GiB",
          SQUADRON_RUNTIMES_SANDBOX_KIND: "bubblewrap",
          SQUADRON_RUNTIMES_SANDBOX_CPUS: "1.5",
          SQUADRON_DEFAULTS_SESSIONS_TTL: "7d",
          SQUADRON_DEFAULTS_LIMITS_SESSIONS_PER_USER: "9",
        },
      });
      expect(config.node.id).toBe("123");
      expect(config.defaults.sessions.infinite).toEqual({
        enabled: false,
        backgroundCompactionThreshold: 0.5,
      });
      expect(config.defaults.allow.models).toEqual(["a", "b*"]);
      expect(config.defaults.provider?.apiKey?.reveal()).toBe("12345");
      expect(config.auth.keys[0]).toMatchObject({ tenant: "acme", user: "alice", roles: ["user"] });
      expect(policyOf(config, "acme").isolation).toBe("shared");
      expect(config.runtimes.env.HTTPS_PROXY?.reveal()).toBe("http://p:1");
      expect(config.runtimes).toMatchObject({
        memoryBytes: 2 ** 31,
        sandbox: { kind: "bubblewrap", cpus: 1.5 },
      });
      expect(config.defaults.sessions.ttlMs).toBe(7 * 86_400_000);
      expect(config.defaults.limits.sessionsPerUser).toBe(9);
    });

    it("names the variable that is wrong", async () => {
      const env = {
        SQUADRON_SDK_PORT: "many",
        SQUADRON_SDK_PROT: "1",
        SQUADRON_AUTH_KEYS: '[{"key":"k","tenant":"acme"}]',
        SQUADRON_TENANTS: "{ a: [ }",
        SQUADRON_OF_SOMEBODY: "x",
        SQUADRON_URL: "http://x",
      };
      expect([...(await problemsOf(loadConfig({ env })))].sort()).toEqual([
        expect.stringContaining("SQUADRON_AUTH_KEYS, auth.keys[0].user: is missing: expected a user's name"),
        "SQUADRON_SDK_PORT: expected a whole number from 0 to 65535",
        'SQUADRON_SDK_PROT: is no key of the configuration; did you mean "SQUADRON_SDK_PORT"?',
        "SQUADRON_TENANTS: expected JSON or YAML for tenants",
      ]);
      expect(await problemsOf(loadConfig({ env: {}, overrides: { sdk: { port: -1, x: 1 } } }))).toEqual([
        "options, sdk.port: expected a whole number from 0 to 65535",
        "options, sdk.x: unknown key",
      ]);
    });
  });

  describe("access to the host", () => {
    const access = (policy: string) =>
      `{ allow: { tools: ["custom:*", "builtin:bash"], mcp: { stdio: true } }, ${policy} }`;

    const boxed = "runtimes: { sandbox: { kind: bubblewrap } }";
    const fence = "runtimes.sandbox.kind: bubblewrap, or trusted: true";
    const alone = "isolation user or session, not";
    /** What is missing: [isolation, trusted, sandbox, what the problem says]. */
    const cases = [
      ["user", false, "none", [fence]],
      ["session", false, "none", [fence]],
      ["tenant", false, "none", [alone, fence]],
      ["shared", true, "none", [alone]],
      ["tenant", true, "none", [alone]],
      ["tenant", false, "bubblewrap", [alone]],
      ["shared", true, "bubblewrap", [alone]],
      ["user", true, "none", []],
      ["session", true, "none", []],
      ["user", false, "bubblewrap", []],
      ["session", false, "bubblewrap", []],
      ["session", true, "bubblewrap", []],
    ] as const;

    it.each(cases)(
      "in isolation %s, trusted %s, sandbox %s lacks %j",
      async (isolation, trusted, sandbox, lacks) => {
        const rest = `isolation: ${isolation}, trusted: ${trusted}`;
        const box = sandbox === "none" ? "" : boxed;
        for (const [policy, paths] of [
          [access(rest), ["allow.tools[1]", "allow.mcp.stdio"]],
          [`{ allow: all, ${rest} }`, ["allow"]],
        ] as const) {
          for (const [text, prefix] of [
            [`defaults: ${policy}\n${box}`, "defaults"],
            [`tenants: { acme: ${policy} }\n${box}`, "tenants.acme"],
          ] as const) {
            if (lacks.length === 0) {
              const config = await load(text);
              const loaded = policyOf(config, prefix === "defaults" ? "other" : "acme");
              expect(loaded.allow.mcp.stdio).toBe(true);
              continue;
            }
            const problems = await problemsOf(load(text));
            expect(problems).toHaveLength(paths.length);
            for (const [at, path] of paths.entries()) {
              expect(problems[at]).toContain(`, ${prefix}.${path}: expected `);
              for (const missing of [fence, alone])
                expect(problems[at]?.includes(missing), missing).toBe(lacks.some((one) => one === missing));
            }
          }
        }
      },
    );

    it("is said together with whatever else is wrong", async () => {
      expect(
        await problemsOf(
          load(`sdk: { prot: 1 }\n${boxed}\ntenants: { acme: { allow: all, isolation: shared } }`),
        ),
      ).toEqual([
        expect.stringContaining("sdk.prot"),
        expect.stringContaining("tenants.acme.allow: expected"),
      ]);
    });

    it("is not what tools give that stay inside their session", async () => {
      const config = await load(
        `defaults: { isolation: shared, allow: { tools: ["builtin:ask_user", "mcp:*"] } }`,
      );
      expect(config.defaults.trusted).toBe(false);
    });
  });

  describe("allow: all", () => {
    const trusted = "trusted: true";

    it("opens every switch", async () => {
      for (const [text, env] of [
        [`defaults: { allow: all, ${trusted} }`, {}],
        [`defaults: { allow: { all: true }, ${trusted} }`, {}],
        [`defaults: { ${trusted} }`, { SQUADRON_DEFAULTS_ALLOW: "all" }],
        [`defaults: { ${trusted} }`, { SQUADRON_DEFAULTS_ALLOW_ALL: "true" }],
        [`defaults: { allow: { models: [a] }, ${trusted} }`, { SQUADRON_DEFAULTS_ALLOW: "all" }],
      ] as const) {
        expect((await load(text, env)).defaults.allow, text).toEqual({
          all: true,
          models: ["*"],
          provider: true,
          tools: ["custom:*", "builtin:*", "mcp:*"],
          mcp: { http: true, stdio: true },
          workingDirectories: ["/"],
        });
      }
    });

    it("is not what a tenant has that writes switches of its own", async () => {
      const config = await load(`
defaults: { allow: all, ${trusted} }
tenants: { acme: { allow: { models: [a] } }, other: { model: m } }
`);
      expect(policyOf(config, "acme").allow).toEqual({
        all: false,
        models: ["a"],
        provider: false,
        tools: ["custom:*"],
        mcp: { http: false, stdio: false },
        workingDirectories: [],
      });
      expect(policyOf(config, "other").allow.all).toBe(true);
    });

    it("stands alone, and nothing like it counts", async () => {
      expect(await problemsOf(load(`defaults: { ${trusted}, allow: { all: true, models: [a] } }`))).toEqual([
        expect.stringContaining("defaults.allow: expected either all or the other switches, not both"),
      ]);
      for (const wrong of ["al", "ALL", "true", "[all]"]) {
        expect(await problemsOf(load(`defaults: { ${trusted}, allow: ${wrong} }`))).toEqual([
          expect.stringContaining("defaults.allow: expected all, or a section with models, provider, tools"),
        ]);
      }
    });

    it("is described as it is written", async () => {
      const described = describeConfig(await load(`defaults: { allow: all, ${trusted} }`));
      expect(described.defaults).toMatchObject({ allow: "all" });
      expect(describeConfig(await loadConfig({ env: {}, overrides: described }))).toEqual(described);
    });
  });

  describe("described", () => {
    it("is the file with everything written out and secrets masked, and loads again", async () => {
      const config = await load(`
sdk: { maxFrame: 1MiB }
auth: { keys: [{ key: secret-1, tenant: acme, user: alice, githubToken: secret-2 }] }
defaults:
  provider: { type: openai, baseUrl: "https://a.example", apiKey: secret-3, headers: { x-a: secret-4 } }
  githubToken: secret-5
tenants: { acme: { limits: { turnTimeout: 90s } }, __proto__: {} }
runtimes: { env: { TOKEN: secret-6 } }
`);
      const described = describeConfig(config);
      expect(JSON.stringify(described)).not.toMatch(/secret-\d/);
      expect(inspect(config, { depth: 20 })).not.toMatch(/secret-\d/);
      expect(described).toMatchObject({
        sdk: { maxFrame: "1MiB", port: 4321 },
        auth: { keys: [{ key: "[secret]", user: "alice", githubToken: "[secret]" }] },
        defaults: {
          limits: { turnTimeout: "30m" },
          provider: { apiKey: "[secret]", headers: { "x-a": "[secret]" } },
        },
        tenants: { acme: { limits: { turnTimeout: "90s", callbackTimeout: "2m" } } },
        runtimes: { env: { TOKEN: "[secret]" } },
        state: { path: join(dir.path, ".squadron/state") },
      });
      await mkdir(join(dir.path, "again"));
      const again = await loadConfig({ env: {}, overrides: described });
      expect(describeConfig(again)).toEqual(described);
    });

    it("notes doors that are open to others", async () => {
      expect(configNotes(await loadConfig({ env: {} }))).toEqual([]);
      for (const host of ["localhost", "::1", "127.9.9.9"]) {
        expect(configNotes(await loadConfig({ env: { SQUADRON_SDK_HOST: host } }))).toEqual([]);
      }
      for (const host of ["0.0.0.0", "::", "10.0.0.1", "127.example.com"]) {
        const notes = configNotes(await loadConfig({ env: { SQUADRON_HTTP_HOST: host } }));
        expect(notes).toEqual([expect.stringContaining(`http.host is ${host}`)]);
      }
    });
  });
});
