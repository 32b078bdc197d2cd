import type { Allow, Policy } from "../../../src/config/config.ts";
import { SquadronError } from "../../../src/kernel/errors.ts";

/** A policy as tenants have it when nobody configured anything, but for what a test opens. */
export const policyWith = (allow: Partial<Allow> = {}): Policy => ({
  trusted: false,
  onBusy: "enqueue",
  isolation: "user",
  sessions: {
    ttlMs: 30 * 86_400_000,
    hibernateAfterMs: 300_000,
    infinite: { enabled: true, backgroundCompactionThreshold: 0.8 },
  },
  limits: {
    turnTimeoutMs: 1_800_000,
    queueLength: 100,
    callbackTimeoutMs: 120_000,
    maxSizeBytes: 256 * 2 ** 20,
    maxFiles: 50_000,
  },
  allow: {
    all: false,
    models: ["*"],
    provider: false,
    tools: ["custom:*"],
    mcp: { http: false, stdio: false },
    workingDirectories: [],
    ...allow,
  },
  httpSessions: { tools: [], mcpServers: {} },
});

/** The error with which it is refused. */
export const refusal = (run: () => unknown): SquadronError => {
  try {
    run();
  } catch (error) {
    if (error instanceof SquadronError) return error;
    throw error;
  }
  throw new Error("It was allowed.");
};
