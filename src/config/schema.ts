import { z } from "zod";
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

/** The policy of a tenant as the file writes it; tenants write only what differs. */
export const policySchema = section({
  isolation: choice("session", "user", "tenant", "shared").default("user"),
  trusted: yesOrNo().default(false),
  model: text("a model's id").exactOptional(),
  provider: provider.exactOptional(),
  githubToken: secret("a GitHub token").exactOptional(),
  sessions: section({
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
  }),
  allow: section({
    models: list(text("a model's id, * as wildcard"), "a list of model ids").default(["*"]),
    provider: yesOrNo().default(false),
    tools: list(
      text("a tool pattern such as custom:*, builtin:ask_user or mcp:*", /^(custom|builtin|mcp):\S+$/),
      "a list of tool patterns",
    ).default(["custom:*"]),
    mcp: section({ http: yesOrNo().default(false), stdio: yesOrNo().default(false) }),
    workingDirectories: list(text("a directory"), "a list of directories").default([]),
  }),
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
  node: section({ id: text("auto, or a name without spaces", /^\S{1,128}$/).default("auto") }),
  sdk: section({
    host: host(),
    port: whole(0, 65_535).default(4321),
    maxFrame: size(65_536, 2 ** 30).default(64 * 2 ** 20),
  }),
  http: section({ host: host(), port: whole(0, 65_535).default(8080) }),
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
  }),
  models: section({
    connectTimeout: duration(100).default(10_000),
    idleTimeout: duration(1_000).default(300_000),
    retries: whole(0, 10).default(2),
    caFiles: list(text("a PEM file"), "a list of PEM files", 100).default([]),
  }),
  state: section({ path: text("a directory").default("./.squadron/state") }),
  store: section({ url: text("sqlite:<path>", /^sqlite:./s).default("sqlite:./.squadron/squadron.db") }),
  telemetry: section({
    logLevel: choice("trace", "debug", "info", "warn", "error", "silent").default("info"),
  }),
});

export type FilePolicy = z.output<typeof policySchema>;
export type File = z.output<typeof fileSchema>;
