import type { Isolation } from "../kernel/isolation.ts";
import type { Secret } from "../kernel/secret.ts";
import type { HttpSessions } from "./http-sessions.ts";

/** A model provider as the runtime names it, with the real address and credential that only the node uses. */
export interface ProviderConfig {
  readonly type: "openai" | "azure" | "anthropic";
  readonly baseUrl: string;
  readonly apiKey?: Secret;
  readonly bearerToken?: Secret;
  readonly headers: Readonly<Record<string, Secret>>;
  readonly wireApi?: "completions" | "responses";
  readonly transport?: "http" | "websockets";
}

export interface Allow {
  /** Everything that the runtime offers, except what would stop or reconfigure it under us; the other switches count as open. */
  readonly all: boolean;
  /** Model ids, `*` as wildcard. */
  readonly models: readonly string[];
  /** May a client bring its own provider (any URL that this host can reach)? */
  readonly provider: boolean;
  /** Tool patterns: `custom:*`, `builtin:ask_user`, `mcp:*`. */
  readonly tools: readonly string[];
  readonly mcp: { readonly http: boolean; readonly stdio: boolean };
  /** Absolute directories of the host in which sessions may work. */
  readonly workingDirectories: readonly string[];
}

/** `allow: all`, each switch written out for whoever asks that one only. */
export const allowEverything: Allow = {
  all: true,
  models: ["*"],
  provider: true,
  tools: ["custom:*", "builtin:*", "mcp:*"],
  mcp: { http: true, stdio: true },
  workingDirectories: ["/"],
};

/**
 * `enqueue`: it waits. `reject`: it is refused with `busy`. `interrupt`: the running turn is aborted, then it runs.
 * `steer`: it is delivered into the running turn, whose answer is its own.
 */
export type OnBusy = "enqueue" | "reject" | "interrupt" | "steer";

export interface Policy {
  readonly isolation: Isolation;
  /** The operator trusts these users with the host: tools that act on it may be allowed. */
  readonly trusted: boolean;
  /** What becomes of a message that comes while another is being answered, unless it says itself. */
  readonly onBusy: OnBusy;
  readonly model?: string;
  readonly provider?: ProviderConfig;
  readonly githubToken?: Secret;
  readonly sessions: {
    /** A session that nobody has used for so long is deleted. */
    readonly ttlMs: number;
    readonly hibernateAfterMs: number;
    readonly infinite: { readonly enabled: boolean; readonly backgroundCompactionThreshold: number };
  };
  readonly limits: {
    readonly turnTimeoutMs: number;
    readonly queueLength: number;
    readonly callbackTimeoutMs: number;
    /** Files of one session in the store; the same for those of a unit. */
    readonly maxSizeBytes: number;
    /** Files, directories and links among them; the same for a unit. */
    readonly maxFiles: number;
    readonly sessionsPerUser?: number;
    readonly sessionsPerTenant?: number;
    /** Sessions in runtimes at once. */
    readonly livePerTenant?: number;
    /** Messages of the whole tenant in any minute, and of each of its users. */
    readonly turnsPerMinute?: number;
    readonly turnsPerMinutePerUser?: number;
    /** Turns that run at once. */
    readonly concurrentTurns?: number;
    readonly concurrentTurnsPerUser?: number;
    /** What model calls take in and give out in a day (UTC). */
    readonly tokensPerDay?: number;
    readonly tokensPerDayPerUser?: number;
  };
  readonly allow: Allow;
  readonly httpSessions: HttpSessions;
}

export interface StaticKey {
  readonly key: Secret;
  readonly tenant: string;
  readonly user: string;
  readonly roles: readonly ("user" | "tenant-admin" | "admin")[];
  readonly githubToken?: Secret;
}

export interface SandboxConfig {
  readonly kind: "none" | "bubblewrap";
  readonly network: "none" | "host";
  /** Bounds of one box: all its processes together. */
  readonly memoryBytes: number;
  readonly processes: number;
  readonly cpus: number;
}

export interface RuntimesConfig {
  /** `auto`: the binary that the installed SDK brings. */
  readonly command: string;
  readonly args: readonly string[];
  readonly env: Readonly<Record<string, Secret>>;
  /** `auto`: an own directory per unit, part of its state. */
  readonly workingDirectory: string;
  readonly startTimeoutMs: number;
  readonly max: number;
  /** Sessions in the runtimes' memory at once, all together. */
  readonly maxSessions: number;
  /** Memory of all runtimes together; unset: no bound but the recycling of each. */
  readonly memoryBytes?: number;
  /** Started runtimes that wait for a unit. */
  readonly spares: number;
  readonly probeEveryMs: number;
  readonly recycle: { readonly turns: number; readonly memoryBytes: number; readonly ageMs: number };
  readonly sandbox: SandboxConfig;
}

export interface ModelsConfig {
  readonly connectTimeoutMs: number;
  /** Longest silence of a provider, before and between bytes of an answer. */
  readonly idleTimeoutMs: number;
  /** Further tries when nothing of an answer can have been made: connection refused, name not found. */
  readonly retries: number;
  /** PEM files of certificate authorities trusted beside the system's. */
  readonly caFiles: readonly string[];
}

export interface Config {
  readonly node: { readonly id: string; readonly drainTimeoutMs: number };
  readonly sdk: { readonly host: string; readonly port: number; readonly maxFrameBytes: number };
  readonly http: {
    readonly host: string;
    readonly port: number;
    /** How long a request's key is remembered. */
    readonly idempotencyTtlMs: number;
  };
  readonly auth: { readonly keys: readonly StaticKey[] };
  readonly defaults: Policy;
  readonly tenants: Readonly<Record<string, Policy>>;
  readonly runtimes: RuntimesConfig;
  readonly models: ModelsConfig;
  readonly state: { readonly path: string };
  readonly store: { readonly url: string };
  /** A node that has not shown for so long that it lives may lose the sessions that it has at work. */
  readonly coordination: { readonly leaseTtlMs: number };
  readonly telemetry: { readonly logLevel: "trace" | "debug" | "info" | "warn" | "error" | "silent" };
}

/** The policy of a tenant: its own, else the defaults. */
export const policyOf = (config: Pick<Config, "defaults" | "tenants">, tenant: string): Policy =>
  Object.hasOwn(config.tenants, tenant) ? (config.tenants[tenant] ?? config.defaults) : config.defaults;
