import { z } from "zod";

// What the commands read of the node's answers; what they do not read may be there or not.
const role = z.enum(["user", "tenant-admin", "admin"]);

export const me = z.looseObject({ tenant: z.string(), user: z.string(), roles: z.array(role) });

/** `ok`, or a problem while the node is closing or its store is away. */
export const readiness = z.union([
  z.looseObject({ status: z.literal("ok") }),
  z.looseObject({ detail: z.string(), code: z.string() }),
]);

export const runtimes = z.looseObject({
  runtimes: z.array(
    z.looseObject({
      id: z.string(),
      isolation: z.string().optional(),
      unitKey: z.string().optional(),
      state: z.string(),
      reason: z.string().optional(),
      turns: z.number(),
      pid: z.number().optional(),
      startedAt: z.string(),
      memoryBytes: z.number().optional(),
      cpuSeconds: z.number().optional(),
    }),
  ),
});

export const session = z.looseObject({
  id: z.string(),
  tenant: z.string(),
  owner: z.string(),
  model: z.string().nullable(),
  state: z.string(),
  busy: z.boolean(),
  isolation: z.string(),
  lastUsedAt: z.string(),
  sizeBytes: z.number(),
  usage: z.looseObject({ inputTokens: z.number(), outputTokens: z.number() }),
});
export type Session = z.output<typeof session>;
export const sessionPage = z.looseObject({ sessions: z.array(session), next: z.string().optional() });

export const pruned = z.looseObject({
  sessions: z.array(
    z.looseObject({
      id: z.string(),
      tenant: z.string(),
      owner: z.string(),
      lastUsedAt: z.string(),
      sizeBytes: z.number(),
    }),
  ),
  inUse: z.number(),
  failed: z.number(),
  more: z.boolean(),
});

export const key = z.looseObject({
  id: z.string(),
  tenant: z.string(),
  user: z.string(),
  roles: z.array(role),
  label: z.string(),
  createdAt: z.string(),
  lastUsedAt: z.string().nullable(),
  revokedAt: z.string().nullable(),
});
export type Key = z.output<typeof key>;
export const keys = z.looseObject({ keys: z.array(key) });
export const newKey = key.extend({ key: z.string() });
export const nothing = z.undefined();
