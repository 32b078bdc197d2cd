import { type OpenStream, readStream, type StreamReader } from "../support/event-reader.ts";
import { eventually } from "../support/wait.ts";
import type { Violation } from "./history-checker.ts";
import type { LoadSession } from "./load.ts";
import { runOn } from "./pause.ts";
import type { Random } from "./random.ts";
import type { User, World } from "./world.ts";

type Event = Readonly<Record<string, unknown>>;

/** Readers of the sessions' event streams, each from its begin, whose connections are cut at random. */
export interface StreamReaders {
  readonly events: number;
  readonly reconnects: number;
  readonly rewinds: number;
  /** Cuts no more, reads on to the end of each history, and says which reader's joined stream is another one. */
  compare(): Promise<readonly Violation[]>;
  stop(): Promise<void>;
}

interface Followed {
  readonly session: LoadSession;
  readonly id: string;
  readonly readers: readonly StreamReader[];
}

const readWithinMs = 20_000;
const pageSize = 500;

export const get = async (world: World, user: User, path: string): Promise<Record<string, unknown>> => {
  const response = await fetch(`${world.endpoints.http}${path}`, {
    headers: { authorization: `Bearer ${user.key}` },
  });
  if (!response.ok) throw new Error(`GET ${path}: ${response.status} ${await response.text()}`);
  return (await response.json()) as Record<string, unknown>;
};

export const publicIdOf = async (world: World, { user, name }: LoadSession): Promise<string | undefined> => {
  const { sessions } = await get(world, user, "/v1/sessions?limit=200");
  return (sessions as readonly { readonly id: string; readonly name: string }[]).find(
    (one) => one.name === name,
  )?.id;
};

const untold = new Set([
  ...["system.message", "model.messages_snapshot"],
  ...["hook.start", "hook.progress", "hook.end", "session.context_changed"],
]);

/** Its events that count, as the HTTP API has them. */
export const historyOf = async (world: World, user: User, id: string): Promise<readonly Event[]> => {
  const all: Event[] = [];
  for (let cursor: unknown = "0"; cursor !== undefined; ) {
    const path = `/v1/sessions/${id}/messages?view=events&limit=${pageSize}&cursor=${cursor}`;
    const { events, next } = await get(world, user, path);
    all.push(...(events as readonly Event[]));
    cursor = next;
  }
  return all.filter(({ type, ephemeral }) => ephemeral !== true && !untold.has(String(type)));
};

/** What must be the same of an event; a stream says the session's public id where a history says its name. */
const essence = ({ id, type, data, sender }: Event): string => {
  const { content, messageId, originatingMessageId } = data as Event;
  return JSON.stringify([id, type, content, messageId, originatingMessageId, sender]);
};

const differenceOf = (joined: readonly Event[], history: readonly Event[]): string | undefined => {
  const at = history.findIndex((event, index) => {
    const mine = joined[index];
    return mine === undefined || essence(mine) !== essence(event);
  });
  if (at < 0 && joined.length === history.length) return undefined;
  const place = at < 0 ? history.length : at;
  const show = (event: Event | undefined): string => (event === undefined ? "nothing" : essence(event));
  return `event ${place} of ${history.length}: ${show(joined[place])} instead of ${show(history[place])}`;
};

export const followSessions = async (options: {
  readonly world: World;
  readonly sessions: readonly LoadSession[];
  readonly each: number;
  /** Who reads beside the session's own user, in turn. */
  readonly guests?: readonly User[];
  readonly random: Random;
}): Promise<StreamReaders> => {
  const { world, sessions, each, guests = [], random } = options;
  const open =
    (user: User, id: string): OpenStream =>
    (lastId, signal) =>
      fetch(`${world.endpoints.http}/v1/sessions/${id}/events`, {
        signal,
        headers: {
          authorization: `Bearer ${user.key}`,
          ...(lastId !== undefined && { "last-event-id": lastId }),
        },
      });

  const followed: Followed[] = [];
  for (const session of sessions) {
    const id = await eventually(() => publicIdOf(world, session), { what: `session ${session.name}` });
    const people = [session.user, ...guests];
    const readers = Array.from({ length: each }, (_, index) =>
      readStream(open(people[index % people.length] ?? session.user, id), { from: "start" }),
    );
    followed.push({ session, id, readers });
  }
  const all = followed.flatMap(({ readers }) => readers);

  let cutting = true;
  const cut = async (): Promise<void> => {
    while (cutting) {
      await runOn(random, { least: 10, most: 150 });
      random.pick(all).drop();
    }
  };
  const cuts = cut();

  const compareOne = async ({ session, id, readers }: Followed): Promise<readonly Violation[]> => {
    const history = await historyOf(world, session.user, id);
    const found: Violation[] = [];
    for (const reader of readers) {
      const same = () => differenceOf(reader.joined, history) === undefined;
      await eventually(same, { what: "the same", deadlineMs: readWithinMs }).catch(() => undefined);
      const detail = differenceOf(reader.joined, history);
      if (detail !== undefined)
        found.push({ kind: "other_stream", session: session.name, marker: undefined, detail });
    }
    return found;
  };

  const sum = (count: (reader: StreamReader) => number): number =>
    all.reduce((total, reader) => total + count(reader), 0);

  const stopCutting = async (): Promise<void> => {
    cutting = false;
    await cuts;
  };

  return {
    get events() {
      return sum(({ events }) => events.length);
    },
    get reconnects() {
      return sum(({ reconnects }) => reconnects);
    },
    get rewinds() {
      return sum(({ events }) => events.filter(({ event }) => event === "stream.rewind").length);
    },
    async compare() {
      await stopCutting();
      return (await Promise.all(followed.map(compareOne))).flat();
    },
    async stop() {
      await stopCutting();
      await Promise.all(all.map((reader) => reader.stop()));
    },
  };
};
