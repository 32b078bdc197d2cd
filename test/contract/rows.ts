import { randomUUID } from "node:crypto";
import type {
  Commit,
  FileChange,
  NewTurn,
  SessionRow,
  Store,
  StoredEntry,
  TurnRow,
} from "../../src/store/store.ts";

/** The store of the running test, and another connection to the same data, which is closed with it. */
export type Here = () => {
  readonly store: Store;
  readonly open: () => Promise<Store>;
  /** The same for a node of this name. */
  readonly openAs: (holder: string) => Promise<Store>;
};

export const session = (over: Partial<SessionRow> = {}): SessionRow => ({
  id: randomUUID(),
  publicId: `ses_${randomUUID()}`,
  tenant: "acme",
  owner: "alice",
  unit: "user/acme/alice",
  isolation: "user",
  createdAt: 1_000,
  updatedAt: 1_000,
  lastUsedAt: 1_000,
  title: null,
  record: "{}",
  createdUpstream: false,
  ephemeral: false,
  visibility: "private",
  senderNames: false,
  inputTokens: 0,
  outputTokens: 0,
  ttlMs: null,
  sizeBytes: 0,
  ...over,
});

export const turn = (sessionId: string, over: Partial<NewTurn> = {}): TurnRow & NewTurn => ({
  id: `turn_${randomUUID()}`,
  sessionId,
  sender: "alice",
  state: "begun",
  acceptedAt: 1_000,
  begunAt: over.state === "accepted" ? null : 1_000,
  endedAt: null,
  runtimeMessageId: null,
  reason: null,
  inputTokens: 0,
  outputTokens: 0,
  content: null,
  joined: null,
  ...over,
});

export const replace = (path: string, text: string, mode = 0o600): StoredEntry => ({
  kind: "file",
  path,
  mode,
  bytes: Buffer.from(text),
});

export const append = (path: string, at: number, text: string): FileChange => ({
  kind: "append",
  path,
  at,
  bytes: Buffer.from(text),
});

export const remove = (path: string): FileChange => ({ kind: "remove", path });

export const directory = (path: string, mode = 0o700): StoredEntry => ({ kind: "directory", path, mode });

export const link = (path: string, target: string): StoredEntry => ({ kind: "link", path, target });

const textOf = (entry: StoredEntry): string => {
  switch (entry.kind) {
    case "file":
      return Buffer.from(entry.bytes).toString();
    case "directory":
      return "(directory)";
    case "link":
      return `-> ${entry.target}`;
  }
};

/** Entries as text, by path. */
export const texts = (entries: readonly StoredEntry[]): Record<string, string> =>
  Object.fromEntries(entries.map((entry) => [entry.path, textOf(entry)]));

/** Entries and their permission bits, in their order. */
export const modes = (entries: readonly StoredEntry[]) =>
  entries.map((entry) => [entry.path, entry.kind === "link" ? undefined : entry.mode]);

/** A stored session that one holder commits to, each commit upon the one before. */
export interface Held {
  readonly row: SessionRow;
  readonly epoch: number;
  /** Of the last commit that was stored. */
  readonly version: number;
  commit(over: Partial<Commit>): Promise<{ version: number; sizeBytes: number }>;
  texts(): Promise<Record<string, string>>;
}

export const held = async (store: Store, over: Partial<SessionRow> = {}): Promise<Held> => {
  const row = session(over);
  await store.sessions.create(row, row.id);
  const taken = await store.state.acquire(row.id, 1_000);
  if (taken === undefined) throw new Error("A session that was just made is not there.");
  const { epoch } = taken;
  let { version } = taken;
  return {
    row,
    epoch,
    get version() {
      return version;
    },
    async commit(change) {
      const done = await store.state.commit({
        sessionId: row.id,
        epoch,
        version,
        files: [],
        maxBytes: 1_000_000_000,
        ...change,
      });
      version = done.version;
      return done;
    },
    texts: async () => texts(await store.state.files({ kind: "session", id: row.id })),
  };
};
