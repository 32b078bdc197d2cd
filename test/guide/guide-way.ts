/**
 * The code of the guide "Scaling and multi-tenancy", as it stands there, so that its faults can be shown on the real
 * runtime. Changed is only what must be: `cliUrl` has become `newClient`, what the guide takes from its surroundings
 * comes as an argument, and request handlers are functions without a web framework.
 */
import type { CopilotClient, CopilotSession, SessionConfig } from "@github/copilot-sdk";
import type { Redis } from "ioredis";

export type GuideSessionConfig = Pick<SessionConfig, "model" | "provider">;
/** What the guide uses of `new Redis()`. */
export type GuideRedis = Pick<Redis, "set" | "get" | "del">;
export type NewClient = (cliUrl: string) => CopilotClient;

/** Pattern 1: one CLI per user. */
export class CLIPool {
  private instances = new Map<string, { client: CopilotClient; port: number }>();
  private nextPort: number;
  private spawnCLI: (port: number) => Promise<void>;
  private newClient: NewClient;

  constructor(machine: { spawnCLI: (port: number) => Promise<void>; newClient: NewClient }, nextPort = 5000) {
    this.spawnCLI = machine.spawnCLI;
    this.newClient = machine.newClient;
    this.nextPort = nextPort;
  }

  async getClientForUser(userId: string): Promise<CopilotClient> {
    const known = this.instances.get(userId);
    if (known) {
      return known.client;
    }

    const port = this.nextPort++;

    // Spawn a dedicated CLI for this user
    await this.spawnCLI(port);

    const client = this.newClient(`localhost:${port}`);

    this.instances.set(userId, { client, port });
    return client;
  }

  async releaseUser(userId: string): Promise<void> {
    const instance = this.instances.get(userId);
    if (instance) {
      await instance.client.stop();
      this.instances.delete(userId);
    }
  }
}

/** Pattern 2: enforce session isolation through naming conventions. */
export function getSessionId(userId: string, purpose: string): string {
  return `${userId}-${purpose}-${Date.now()}`;
}

/** Pattern 2: ensure users can only access their own sessions. */
export async function resumeSessionWithAuth(
  sharedClient: CopilotClient,
  config: GuideSessionConfig,
  sessionId: string,
  currentUserId: string,
): Promise<CopilotSession> {
  const [sessionUserId] = sessionId.split("-");
  if (sessionUserId !== currentUserId) {
    throw new Error("Access denied: session belongs to another user");
  }
  return sharedClient.resumeSession(sessionId, config);
}

/** Pattern 3: a session of several users, one at a time. */
export async function withSessionLock<T>(
  redis: GuideRedis,
  sessionId: string,
  fn: () => Promise<T>,
  timeoutSec = 300,
): Promise<T> {
  const lockKey = `session-lock:${sessionId}`;
  const lockId = crypto.randomUUID();

  // Acquire lock
  const acquired = await redis.set(lockKey, lockId, "EX", timeoutSec, "NX");
  if (!acquired) {
    throw new Error("Session is in use by another user");
  }

  try {
    return await fn();
  } finally {
    // Release lock (only if we still own it)
    const currentLock = await redis.get(lockKey);
    if (currentLock === lockId) {
      await redis.del(lockKey);
    }
  }
}

/** `POST /team-chat`: serialize access to shared session. */
export const teamChatRoute =
  (redis: GuideRedis, client: CopilotClient, config: GuideSessionConfig, timeoutSec?: number) =>
  async (req: { readonly body: { readonly message: string } }) => {
    const result = await withSessionLock(
      redis,
      "team-project-review",
      async () => {
        const session = await client.resumeSession("team-project-review", config);
        return session.sendAndWait({ prompt: req.body.message });
      },
      timeoutSec,
    );

    return { content: result?.data.content };
  };

/** Route sessions to CLI servers. */
export class CLILoadBalancer {
  private servers: string[];

  constructor(servers: string[]) {
    this.servers = servers;
  }

  // Sticky sessions: same user always hits same server
  getServerForUser(userId: string): string {
    const hash = this.hashCode(userId);
    return String(this.servers[hash % this.servers.length]);
  }

  private hashCode(str: string): number {
    let hash = 0;
    for (let i = 0; i < str.length; i++) {
      hash = (hash << 5) - hash + str.charCodeAt(i);
      hash |= 0;
    }
    return Math.abs(hash);
  }
}

/** Limit concurrent active sessions. */
export class SessionManager {
  private activeSessions = new Map<string, CopilotSession>();
  private client: CopilotClient;
  private config: GuideSessionConfig;
  private maxConcurrent: number;

  constructor(client: CopilotClient, config: GuideSessionConfig, maxConcurrent = 50) {
    this.client = client;
    this.config = config;
    this.maxConcurrent = maxConcurrent;
  }

  /** Not in the guide: how many sessions it believes to be active. */
  get active(): number {
    return this.activeSessions.size;
  }

  async getSession(sessionId: string): Promise<CopilotSession> {
    // Return existing active session
    const known = this.activeSessions.get(sessionId);
    if (known) {
      return known;
    }

    // Enforce concurrency limit
    if (this.activeSessions.size >= this.maxConcurrent) {
      await this.evictOldestSession();
    }

    // Create or resume
    const session = await this.client.createSession({ sessionId, ...this.config });

    this.activeSessions.set(sessionId, session);
    return session;
  }

  private async evictOldestSession(): Promise<void> {
    const [oldestId = ""] = this.activeSessions.keys();
    const session = this.activeSessions.get(oldestId);
    // Session state is persisted automatically — safe to disconnect
    await session?.disconnect();
    this.activeSessions.delete(oldestId);
  }
}

interface GuideRequest<Body> {
  /** Set by the guide's authentication: never the caller's own claim. */
  readonly user: { readonly id: string };
  readonly body: Body;
}

/** `POST /chat`, behind the balancer. */
export const chatRoute =
  (lb: CLILoadBalancer, newClient: NewClient, config: GuideSessionConfig) =>
  async (req: GuideRequest<{ message: string }>) => {
    const server = lb.getServerForUser(req.user.id);
    const client = newClient(server);

    const session = await client.createSession({ sessionId: `user-${req.user.id}-chat`, ...config });

    const response = await session.sendAndWait({ prompt: req.body.message });
    return { content: response?.data.content };
  };

/** `POST /api/analyze`: an ephemeral session. */
export const analyzeRoute =
  (client: CopilotClient, config: GuideSessionConfig) => async (req: GuideRequest<{ prompt: string }>) => {
    const session = await client.createSession(config);

    try {
      const response = await session.sendAndWait({ prompt: req.body.prompt });
      return { result: response?.data.content };
    } finally {
      await session.disconnect(); // Clean up immediately
    }
  };

/** `POST /api/chat/start`, `/message` and `/end`: persistent sessions. */
export const chatRoutes = (client: CopilotClient, config: GuideSessionConfig) => ({
  // Create a resumable session
  async start(req: GuideRequest<undefined>) {
    const sessionId = `user-${req.user.id}-${Date.now()}`;

    await client.createSession({
      sessionId,
      ...config,
      infiniteSessions: { enabled: true, backgroundCompactionThreshold: 0.8 },
    });

    return { sessionId };
  },

  // Continue the conversation
  async message(req: GuideRequest<{ sessionId: string; message: string }>) {
    const session = await client.resumeSession(req.body.sessionId, config);
    const response = await session.sendAndWait({ prompt: req.body.message });

    return { content: response?.data.content };
  },

  // Clean up when done
  async end(req: GuideRequest<{ sessionId: string }>) {
    await client.deleteSession(req.body.sessionId);
    return { success: true };
  },
});
