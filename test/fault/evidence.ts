import { CopilotClient, RuntimeConnection } from "@github/copilot-sdk";
import { openStore } from "../../src/store/open-store.ts";
import type { Store, TurnRow } from "../../src/store/store.ts";
import type { Evidence, Said, SessionFacts, Violation } from "./history-checker.ts";
import type { Journal } from "./journal.ts";
import { attempt, type LoadSession } from "./load.ts";
import { messageOf, settle } from "./outcomes.ts";
import { beforeRetry } from "./pause.ts";
import { createRandom } from "./random.ts";
import { createSdkActor } from "./sdk-actor.ts";
import { systemMessageOf } from "./talk.ts";
import type { User, World } from "./world.ts";

const closingMs = 60_000;
const rowsPerPage = 500;

/** One more message into every session, tried again as told; a session that gives no answer any more is dead. */
export const closingRound = async (options: {
  readonly world: World;
  readonly journal: Journal;
  readonly sessions: readonly LoadSession[];
  readonly hangMs: number;
}): Promise<readonly Violation[]> => {
  const { world, journal, sessions, hangMs } = options;
  const random = createRandom(1);
  const byUser = Map.groupBy(sessions, ({ user }) => user);
  const dead: Violation[] = [];
  const talk = async (user: User, own: readonly LoadSession[]): Promise<void> => {
    const client = `closing-${user.key}`;
    const actor = createSdkActor({ name: client, user, world, journal, hangMs });
    try {
      for (const { name: session } of own) {
        const end = world.now() + closingMs;
        for (let count = 1; ; count++) {
          const marker = `m-closing-${session}-${count}`;
          const outcome = await attempt({
            actor,
            client,
            door: "sdk",
            session,
            manner: {},
            marker,
            random,
            world,
            journal,
          });
          if (outcome.kind === "answered") break;
          if (world.now() > end) {
            dead.push({
              kind: "dead",
              session,
              marker,
              detail: `The last of ${count} tries: ${JSON.stringify(outcome)}`,
            });
            break;
          }
          await beforeRetry(undefined);
        }
      }
    } finally {
      await actor.close();
    }
  };
  await Promise.all([...byUser].map(([user, own]) => talk(user, own)));
  return dead;
};

const text = (value: unknown): string => (typeof value === "string" ? value : "");

const historiesOf = async (
  world: World,
  user: User,
  sessions: readonly LoadSession[],
  unreadable: Violation[],
): Promise<ReadonlyMap<string, readonly Said[]>> => {
  const client = new CopilotClient({
    connection: RuntimeConnection.forUri(`127.0.0.1:${world.endpoints.sdkPort}`, {
      connectionToken: user.key,
    }),
  });
  const histories = new Map<string, readonly Said[]>();
  try {
    for (const { name } of sessions) {
      const read = await settle(
        client
          .resumeSession(name, {
            systemMessage: { mode: "append", content: systemMessageOf(name) },
            onPermissionRequest: async () => ({ kind: "approve-once" }),
          })
          .then((session) => session.getEvents()),
        closingMs,
      );
      if (read.kind !== "ok") {
        const detail = read.kind === "error" ? messageOf(read.error) : "no answer";
        unreadable.push({ kind: "dead", session: name, marker: undefined, detail: `Its history: ${detail}` });
        continue;
      }
      histories.set(
        name,
        read.value.flatMap(({ type, data }): readonly Said[] => {
          const said: Readonly<Record<string, unknown>> = { ...data };
          if (said.parentToolCallId !== undefined || text(said.content) === "") return [];
          const common = { id: text(said.messageId), content: text(said.content) };
          if (type === "user.message") return [{ role: "user", ...common }];
          if (type !== "assistant.message") return [];
          return [{ role: "assistant", ...common, answers: text(said.originatingMessageId) }];
        }),
      );
    }
  } finally {
    await client.forceStop();
  }
  return histories;
};

const rowsOf = async (store: Store, { name, user }: LoadSession): Promise<readonly TurnRow[]> => {
  const session = await store.sessions.byName(user.tenant, user.user, name);
  if (session === undefined) return [];
  const rows: TurnRow[] = [];
  for (;;) {
    const last = rows.at(-1);
    const page = await store.turns.list(session.id, {
      limit: rowsPerPage,
      ...(last !== undefined && { before: { id: last.id } }),
    });
    rows.push(...page);
    if (page.length < rowsPerPage) return rows;
  }
};

/** Reads every history through the node, ends the node, and reads the turn rows from its store. */
export const collectEvidence = async (options: {
  readonly world: World;
  readonly journal: Journal;
  readonly sessions: readonly LoadSession[];
  readonly settleMs: number;
}): Promise<{ readonly evidence: Evidence; readonly unreadable: readonly Violation[] }> => {
  const { world, journal, settleMs } = options;
  // A session that nobody ever came to open is no evidence.
  const tried = new Set(
    journal.attempts.filter(({ outcome }) => outcome.kind !== "refused").map(({ session }) => session),
  );
  const sessions = options.sessions.filter(({ name }) => tried.has(name));
  const byUser = Map.groupBy(sessions, ({ user }) => user);
  const unreadable: Violation[] = [];
  const histories = await Promise.all(
    [...byUser].map(([user, own]) => historiesOf(world, user, own, unreadable)),
  );
  const said = new Map(histories.flatMap((one) => [...one]));
  await world.end("SIGTERM");
  const store = await openStore(`sqlite:${world.databasePath}`);
  try {
    const facts: SessionFacts[] = [];
    for (const session of sessions) {
      const history = said.get(session.name);
      if (history === undefined) continue;
      facts.push({
        session: session.name,
        said: history,
        rows: await rowsOf(store, session),
      });
    }
    return {
      evidence: { ...journal, sessions: facts, settleMs, asked: Object.fromEntries(world.asked) },
      unreadable,
    };
  } finally {
    await store.close();
  }
};
