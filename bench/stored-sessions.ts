import { openStore } from "../src/store/open-store.ts";
import type { OwnedSession, Store, StoredEntry, StoredFile, TurnRow } from "../src/store/store.ts";
import { tenant, userName } from "./node-control.ts";

/** A session as a node has stored it. */
export interface Specimen {
  readonly session: OwnedSession;
  readonly files: readonly StoredEntry[];
  readonly turns: readonly TurnRow[];
}

/** Reads a session of user 0 from the store of a node that has ended. */
export const takeSpecimen = async (url: string, name: string): Promise<Specimen> => {
  const store = await openStore(url);
  try {
    const session = await store.sessions.byName(tenant, userName(0), name);
    if (session === undefined) throw new Error(`There is no session ${name} in ${url}.`);
    return {
      session,
      files: await store.state.files({ kind: "session", id: session.id }),
      turns: await store.turns.list(session.id, { limit: 100 }),
    };
  } finally {
    await store.close();
  }
};

const renamed = (file: StoredFile, from: string, to: string): StoredFile => ({
  ...file,
  bytes: Buffer.from(Buffer.from(file.bytes).toString("latin1").replaceAll(from, to), "latin1"),
});

const putTurn = async (store: Store, { state, endedAt, ...turn }: TurnRow): Promise<void> => {
  await store.turns.insert({ ...turn, state: "begun" });
  if (endedAt !== null && state !== "begun" && state !== "accepted")
    await store.turns.end({ ...turn, state, endedAt });
};

const putCopy = async (store: Store, { session, files, turns }: Specimen, index: number, users: number) => {
  const id = crypto.randomUUID();
  const owner = userName(index % users);
  const { name: _, role: __, sizeBytes: ___, ...row } = session;
  await store.sessions.create(
    { ...row, id, publicId: `ses_${id}`, owner, unit: row.isolation === "shared" ? row.unit : `copy/${id}` },
    `copy-${index}`,
  );
  const taken = await store.state.acquire(id, row.createdAt);
  if (taken === undefined) throw new Error("A session that was just made is gone.");
  for (const turn of turns.toReversed())
    await putTurn(store, { ...turn, id: crypto.randomUUID(), sessionId: id, sender: owner });
  await store.state.commit({
    sessionId: id,
    ...taken,
    files: files.map((file) => (file.kind === "file" ? renamed(file, session.id, id) : file)),
    maxBytes: Number.MAX_SAFE_INTEGER,
  });
};

/** Fills a new store with copies of a session, dealt out to so many users, through the interface that the node uses. */
export const fillStore = async (
  url: string,
  specimen: Specimen,
  counts: { readonly sessions: number; readonly users: number },
): Promise<void> => {
  const store = await openStore(url);
  try {
    for (let index = 0; index < counts.sessions; index++) await putCopy(store, specimen, index, counts.users);
  } finally {
    await store.close();
  }
};
