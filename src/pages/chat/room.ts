/**
 * What is shown of a session, made from its event stream and from what is asked for when the stream is opened. All of it
 * is pure: the same events give the same room, however often the stream was cut in between.
 */
import { type Fact, factOf } from "./facts.ts";
import { type Json, list, record, text } from "./json.ts";

/** An event of the stream. `event` is what the runtime or the node says, whole. */
export interface StreamEvent {
  readonly name: string;
  readonly event: Json;
}

export type TurnState = "queued" | "running" | "completed" | "failed" | "aborted" | "interrupted";

export interface Turn {
  readonly id: string;
  readonly by: string;
  readonly state: TurnState;
  readonly reason: string | null;
}

export type RequestKind = "permission" | "user_input" | "elicitation" | "tool_call";

export interface OpenRequest {
  readonly id: string;
  readonly kind: RequestKind;
  readonly turnId: string | null;
  /** Who is asked. */
  readonly for: string | null;
  readonly expiresAt: string;
  readonly detail: Json;
}

export interface Request extends OpenRequest {
  /** How many facts there were when it was first seen: where it stands between them. */
  readonly at: number;
  readonly settled: { readonly by: string | null; readonly outcome: string } | null;
}

export interface Present {
  readonly user: string;
  readonly role: string;
  readonly attached: boolean;
  readonly typing: boolean;
}

/** An answer that still grows. */
export interface Growing {
  readonly messageId: string;
  readonly text: string;
}

export interface Room {
  /** The history, event by event. */
  readonly facts: readonly Fact[];
  readonly ids: ReadonlySet<string>;
  readonly growing: readonly Growing[];
  /** In the order in which they were first heard of. */
  readonly turns: ReadonlyMap<string, Turn>;
  readonly requests: readonly Request[];
  readonly present: readonly Present[];
  readonly title: string | null;
  /** Grows when somebody's part in the session has changed. */
  readonly changes: number;
  /** Has the stream been opened, so that an empty history is known to be empty? */
  readonly opened: boolean;
  /** The history was cut at a place that is not known here: it must be read from its begin. */
  readonly lost: boolean;
}

/** What was asked for beside the stream. */
export interface Snapshot {
  readonly turns: readonly Turn[];
  readonly requests: readonly OpenRequest[];
  /** Ids of the requests that were known to be open when it was asked for. */
  readonly openBefore: readonly string[];
}

export const emptyRoom: Room = {
  facts: [],
  ids: new Set(),
  growing: [],
  turns: new Map(),
  requests: [],
  present: [],
  title: null,
  changes: 0,
  opened: false,
  lost: false,
};

const ranks: Readonly<Record<TurnState, number>> = {
  queued: 0,
  running: 1,
  completed: 2,
  failed: 2,
  aborted: 2,
  interrupted: 2,
};

export const hasEnded = ({ state }: Pick<Turn, "state">): boolean => ranks[state] === 2;

/** A turn never goes back: what is heard late changes nothing. */
const withTurn = (turns: ReadonlyMap<string, Turn>, turn: Turn): ReadonlyMap<string, Turn> => {
  const before = turns.get(turn.id);
  if (before !== undefined && ranks[before.state] >= ranks[turn.state]) return turns;
  return new Map(turns).set(turn.id, { ...turn, by: turn.by || (before?.by ?? "") });
};

const turnStates: Readonly<Record<string, TurnState>> = {
  "turn.queued": "queued",
  "turn.running": "running",
  "turn.completed": "completed",
  "turn.failed": "failed",
  "turn.aborted": "aborted",
  "turn.interrupted": "interrupted",
};

const settle = (room: Room, id: string, settled: Request["settled"]): Room => ({
  ...room,
  requests: room.requests.map((one) => (one.id === id && one.settled === null ? { ...one, settled } : one)),
});

const withRequest = (room: Room, request: OpenRequest): Room =>
  room.requests.some(({ id }) => id === request.id)
    ? room
    : { ...room, requests: [...room.requests, { ...request, at: room.facts.length, settled: null }] };

const requestKinds: ReadonlySet<string> = new Set(["permission", "user_input", "elicitation", "tool_call"]);

export const readRequest = (id: string, data: Json): OpenRequest | undefined => {
  const kind = text(data.kind);
  if (id === "" || !requestKinds.has(kind)) return undefined;
  return {
    id,
    kind: kind as RequestKind,
    turnId: text(data.turnId) || null,
    for: text(data.for) || null,
    expiresAt: text(data.expiresAt),
    detail: record(data.detail),
  };
};

/** Forgets what follows the event `to`. */
const rewound = (room: Room, to: string): Room => {
  if (to === "start") return { ...room, facts: [], ids: new Set(), growing: [] };
  const at = room.facts.findLastIndex(({ id }) => id === to);
  if (at < 0) return { ...room, lost: true };
  const facts = room.facts.slice(0, at + 1);
  return { ...room, facts, ids: new Set(facts.map(({ id }) => id)), growing: [] };
};

const withFacts = (room: Room, facts: readonly Fact[]): Room => {
  const ids = new Set(room.ids);
  const fresh = facts.filter(({ id }) => !ids.has(id) && ids.add(id));
  if (fresh.length === 0) return room;
  const finished = new Set(fresh.flatMap((fact) => (fact.kind === "assistant" ? [fact.messageId] : [])));
  const growing =
    finished.size === 0 ? room.growing : room.growing.filter(({ messageId }) => !finished.has(messageId));
  return { ...room, facts: [...room.facts, ...fresh], ids, growing };
};

const grown = (growing: readonly Growing[], messageId: string, more: string): readonly Growing[] =>
  growing.some((one) => one.messageId === messageId)
    ? growing.map((one) => (one.messageId === messageId ? { messageId, text: one.text + more } : one))
    : [...growing, { messageId, text: more }];

/** What the node or a runtime tells of the moment; it is in no history. */
const heard = (room: Room, name: string, data: Json): Room => {
  const state = turnStates[name];
  if (state !== undefined) {
    const turn = { id: text(data.turnId), by: text(data.by), state, reason: text(data.reason) || null };
    const turns = withTurn(room.turns, turn);
    return { ...room, turns, growing: hasEnded(turn) ? [] : room.growing };
  }
  switch (name) {
    case "assistant.message_delta": {
      const messageId = text(data.messageId);
      if (data.parentToolCallId !== undefined || messageId === "") return room;
      const finished = room.facts.some((fact) => fact.kind === "assistant" && fact.messageId === messageId);
      return finished ? room : { ...room, growing: grown(room.growing, messageId, text(data.deltaContent)) };
    }
    case "session.title_changed":
      return { ...room, title: text(data.title) || null };
    case "request.opened": {
      const request = readRequest(text(data.requestId), data);
      return request === undefined ? room : withRequest(room, request);
    }
    case "request.settled":
      return settle(room, text(data.requestId), { by: text(data.by) || null, outcome: text(data.outcome) });
    case "participant.changed":
      return { ...room, changes: room.changes + 1 };
    case "presence":
      return { ...room, present: list(data.users).map(readPresent) };
    default:
      return room;
  }
};

const readPresent = (value: unknown): Present => {
  const { user, role, attached, typing } = record(value);
  return { user: text(user), role: text(role), attached: attached === true, typing: typing === true };
};

/** The room after these events. Those of the history are taken together where they stand together: there may be thousands. */
export const receive = (room: Room, events: readonly StreamEvent[]): Room => {
  let now = room;
  let facts: Fact[] = [];
  const take = (): void => {
    if (facts.length > 0) now = withFacts(now, facts);
    facts = [];
  };
  for (const { name, event } of events) {
    const fact = name === "stream.rewind" ? undefined : factOf(name, event);
    if (fact !== undefined) {
      facts.push(fact);
      continue;
    }
    take();
    if (name === "stream.opened") now = { ...now, opened: true };
    else if (name === "stream.rewind") now = rewound(now, text(event.to));
    else now = heard(now, name, record(event.data));
  }
  take();
  return now;
};

/** The room with what was asked for: it may be older or newer than what the stream has told. */
export const withSnapshot = (room: Room, { turns, requests, openBefore }: Snapshot): Room => {
  const merged = { ...room, turns: turns.reduce(withTurn, room.turns) };
  const open = new Set(requests.map(({ id }) => id));
  const gone = openBefore.filter((id) => !open.has(id));
  const settled = gone.reduce((so, id) => settle(so, id, { by: null, outcome: "withdrawn" }), merged);
  return requests.reduce(withRequest, settled);
};

export const openRequestIds = ({ requests }: Pick<Room, "requests">): readonly string[] =>
  requests.filter(({ settled }) => settled === null).map(({ id }) => id);

export const runningTurn = ({ turns }: Pick<Room, "turns">): Turn | undefined =>
  [...turns.values()].findLast(({ state }) => state === "running");

export const waitingTurns = ({ turns }: Pick<Room, "turns">): readonly Turn[] =>
  [...turns.values()].filter(({ state }) => state === "queued");
