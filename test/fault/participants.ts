import type { Violation } from "./history-checker.ts";
import type { Journal } from "./journal.ts";
import type { LoadSession } from "./load.ts";
import { historyOf, publicIdOf } from "./stream-readers.ts";
import { markerIn } from "./talk.ts";
import type { User, World } from "./world.ts";

/** Lets guests take part, who give the session the name that its owner has for it, so that all do the same. */
export const admit = async (world: World, session: LoadSession, guests: readonly User[]): Promise<void> => {
  if (guests.length === 0) return;
  const post = async (user: User, path: string, body: object): Promise<Record<string, unknown>> => {
    const response = await fetch(`${world.endpoints.http}${path}`, {
      method: "POST",
      headers: { authorization: `Bearer ${user.key}`, "content-type": "application/json" },
      body: JSON.stringify(body),
    });
    const answer = await response.text();
    if (!response.ok) throw new Error(`POST ${path}: ${response.status} ${answer}`);
    return JSON.parse(answer);
  };
  const id = await publicIdOf(world, session);
  const invites = `/v1/sessions/${id}/invites`;
  const { token } = await post(session.user, invites, { role: "writer", uses: guests.length });
  for (const guest of guests) await post(guest, "/v1/invites/accept", { token, name: session.name });
};

/** Messages of a session's history that do not say who has sent them. */
export const wrongSenders = async (options: {
  readonly world: World;
  readonly session: LoadSession;
  readonly journal: Journal;
  readonly userOf: (client: string) => User;
}): Promise<readonly Violation[]> => {
  const { world, session, journal, userOf } = options;
  const id = await publicIdOf(world, session);
  if (id === undefined) throw new Error(`There is no session ${session.name}.`);
  const clients = new Map(journal.attempts.map(({ marker, client }) => [marker, client]));
  const history = await historyOf(world, session.user, id);
  return history.flatMap(({ type, data, sender }): readonly Violation[] => {
    if (type !== "user.message") return [];
    const marker = markerIn(String((data as { readonly content?: unknown }).content));
    const client = clients.get(marker);
    const { user } = client === undefined ? session.user : userOf(client);
    const detail = `It was ${user}, and the history says ${sender}.`;
    return sender === user ? [] : [{ kind: "wrong_sender", session: session.name, marker, detail }];
  });
};
