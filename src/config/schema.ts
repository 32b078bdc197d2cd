import { z } from "zod";
import { isObject } from "../kernel/json.ts";
import {
  choice,
  duration,
  fraction,
  group,
  list,
  map,
  secret,
  section,
  size,
  text,
  whole,
  yesOrNo,
} from "./fields.ts";
import { httpSessionsSchema } from "./http-sessions.ts";
import { isPrincipalName, principalNameForm } from "./principal-name.ts";

const nameOf = (what: string) =>
  text(`a ${what}'s name: ${principalNameForm}`).refine(isPrincipalName, {
    error: `expected a ${what}'s name: ${principalNameForm}`,
  });

const isEndpoint = (value: string): boolean => {
  const url = URL.parse(value);
  return url !== null && /^https?:$/.test(url.protocol) && url.username === "" && url.password === "";
};

const endpointForm = "an http or https URL without credentials in it";
const headerName = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/;
const variableName = /^[A-Za-z_][A-Za-z0-9_]*$/;

const provider = group({
  type: choice("openai", "azure", "anthropic"),
  baseUrl: text(endpointForm).refine(isEndpoint, { error: `expected ${endpointForm}` }),
  apiKey: secret("the provider's key").exactOptional(),
  bearerToken: secret("the provider's token").exactOptional(),
  headers: map(secret("a header's value"), "HTTP headers, a text each", headerName).default({}),
  wireApi: choice("completions", "responses").exactOptional(),
  transport: choice("http", "websockets").exactOptional(),
}).refine(({ apiKey, bearerToken }) => apiKey === undefined || bearerToken === undefined, {
  error: "expected either apiKey or bearerToken, not both",
});

const count = () => whole(1, 1_000_000_000);
const tokens = () => whole(1, 1_000_000_000_000);
const day = 86_400_000;
const mebibyte = 2 ** 20;
const gibibyte = 2 ** 30;
const tebibyte = 2 ** 40;

const allowSection = group(
  {
    all: yesOrNo().default(false),
    models: list(text("a model's id, * as wildcard"), "a list of model ids").default(["*"]),
    provider: yesOrNo().default(false),
    tools: list(
      text("a tool pattern such as custom:*, builtin:ask_user or mcp:*", /^(custom|builtin|mcp):\S+$/),
      "a list of tool patterns",
    ).default(["custom:*"]),
    mcp: section({ http: yesOrNo().default(false), stdio: yesOrNo().default(false) }),
    workingDirectories: list(text("a directory"), "a list of directories").default([]),
  },
  "all, or a section with models, provider, tools, mcp, workingDirectories",
);

const opensAll = (written: unknown): boolean =>
  written === "all" || (isObject(written) && (written.all === true || written.all === "true"));

/** `all`, or a section of switches. What says both would leave open which of them counts. */
const allow = z
  .preprocess((written, context) => {
    if (opensAll(written) && isObject(written) && Object.keys(written).length > 1) {
      context.addIssue({ code: "custom", message: "expected either all or the other switches, not both" });
      return z.NEVER;
    }
    return written === "all" ? { all: true } : (written ?? {});
  }, allowSection)
  .transform(({ all, ...switches }) => (all ? ("all" as const) : switches));

/** The policy of a tenant as the file writes it; tenants write only what differs. */
export const policySchema = section({
  isolation: choice("session", "user", "tenant", "shared").default("user"),
  trusted: yesOrNo().default(false),
  onBusy: choice("enqueue", "reject", "interrupt", "steer").default("enqueue"),
  model: text("a model's id").exactOptional(),
  provider: provider.exactOptional(),
  githubToken: secret("a GitHub token").exactOptional(),
  sessions: section({
    ttl: duration(60_000, 3_650 * day).default(30 * day),
    hibernateAfter: duration().default(300_000),
    infinite: section({
      enabled: yesOrNo().default(true),
      backgroundCompactionThreshold: fraction(0.01, 1).default(0.8),
    }),
  }),
  limits: section({
    turnTimeout: duration(1_000).default(1_800_000),
    queueLength: whole(1, 100_000).default(100),
    callbackTimeout: duration(1_000).default(120_000),
    maxSize: size(mebibyte, tebibyte).default(256 * mebibyte),
    maxFiles: whole(100, 1_000_000).default(50_000),
    sessionsPerUser: count().exactOptional(),
    sessionsPerTenant: count().exactOptional(),
    livePerTenant: count().exactOptional(),
    turnsPerMinute: whole(1, 100_000).exactOptional(),
    turnsPerMinutePerUser: whole(1, 100_000).exactOptional(),
    concurrentTurns: count().exactOptional(),
    concurrentTurnsPerUser: count().exactOptional(),
    tokensPerDay: tokens().exactOptional(),
    tokensPerDayPerUser: tokens().exactOptional(),
  }),
  allow,
  httpSessions: httpSessionsSchema,
});

const staticKey = group({
  key: secret("a key"),
  tenant: nameOf("tenant"),
  user: nameOf("user"),
  roles: list(choice("user", "tenant-admin", "admin"), "a list of roles")
    .min(1, { error: "expected at least one role" })
    .default(["user"]),
  githubToken: secret("a GitHub token").exactOptional(),
});

const staticKeys = list(staticKey, "a list of keys").superRefine((keys, context) => {
  const first = new Map<string, number>();
  for (const [at, { key }] of keys.entries()) {
    const before = first.get(key.reveal());
    if (before === undefined) first.set(key.reveal(), at);
    else {
      context.addIssue({
        code: "custom",
        path: [at, "key"],
        message: `is the same as auth.keys[${before}].key; every key must be unique`,
      });
    }
  }
});

const host = () => text("an address or host name", /^[^\s/]+$/).default("127.0.0.1");

/** Everything that `squadron.yaml` may say, with its defaults. Key paths of this schema are also names of variables. */
export const fileSchema = section({
  node: section({
    id: text("auto, or a name without spaces", /^\S{1,128}$/).default("auto"),
    drainTimeout: duration().default(60_000),
  }),
  sdk: section({
    host: host(),
    port: whole(0, 65_535).default(4321),
    maxFrame: size(65_536, gibibyte).default(64 * mebibyte),
  }),
  http: section({
    host: host(),
    port: whole(0, 65_535).default(8080),
    idempotencyTtl: duration(60_000, 30 * day).default(day),
  }),
  auth: section({ keys: staticKeys.default([]) }),
  defaults: policySchema,
  tenants: map(z.unknown(), "a policy by tenant").default({}),
  runtimes: section({
    command: text("auto, or a program").default("auto"),
    args: list(z.string({ error: "expected a text" }), "a list of arguments", 1_000).default([]),
    env: map(z.string({ error: "expected a text" }), "variables, a text each", variableName).default({}),
    workingDirectory: text("auto, or a directory").default("auto"),
    startTimeout: duration(100).default(20_000),
    max: whole(1, 100_000).default(32),
    maxSessions: whole(1, 1_000_000).default(50),
    memory: size(256 * mebibyte, 1_024 * tebibyte).exactOptional(),
    spares: whole(0, 1_000).default(2),
    probeEvery: duration(100).default(5_000),
    recycle: section({
      turns: count().default(2_000),
      memory: size(128 * mebibyte, tebibyte).default(gibibyte),
      age: duration(60_000, 365 * day).default(day),
    }),
    sandbox: section({
      kind: choice("none", "bubblewrap").default("none"),
      network: choice("host", "none").default("host"),
      memory: size(256 * mebibyte, tebibyte).default(2 * gibibyte),
      processes: whole(32, 1_000_000).default(128),
      cpus: fraction(0.1, 1_024).default(1),
    }),
  }),
  models: section({
    connectTimeout: duration(100).default(10_000),
    idleTimeout: duration(1_000).default(300_000),
    retries: whole(0, 10).default(2),
    caFiles: list(text("a PEM file"), "a list of PEM files", 100).default([]),
  }),
  state: section({ path: text("a directory").default("./.squadron/state") }),
  store: section({ url: text("sqlite:<path>", /^sqlite:./s).default("sqlite:./.squadron/squadron.db") }),
  coordination: section({ leaseTtl: duration(500, 3_600_000).default(15_000) }),
  telemetry: section({
    logLevel: choice("trace", "debug", "info", "warn", "error", "silent").default("info"),
  }),
});

export type FilePolicy = z.output<typeof policySchema>;
export type File = z.output<typeof fileSchema>;
