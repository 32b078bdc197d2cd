import type { Clock } from "../kernel/clock.ts";
import type { OpenRequest, Question, RequestEnd, SessionRequests, User } from "./request-vocabulary.ts";
import type { Attachment } from "./vocabulary.ts";

/** A question that is put to the clients that are attached. */
export interface PutQuestion extends Question {
  /** Asks a client that is attached and can answer; undefined: there is none, or none that has not been asked. */
  ask(): Attachment | undefined;
  /** Called once; when nobody answered in time it answers itself. */
  ended(end: RequestEnd): void;
}

type State =
  | { readonly kind: "open" }
  | { readonly kind: "answering"; readonly by: User }
  | { readonly kind: "ended"; readonly end: RequestEnd };

type Change =
  | { readonly kind: "answer"; readonly by: User }
  /** The runtime does not take the answer for one. */
  | { readonly kind: "reject" }
  /** The runtime has it. */
  | { readonly kind: "accept" }
  /** The runtime says that the question is settled, has gone, or has no use for the answer. */
  | { readonly kind: "withdraw" }
  | { readonly kind: "expire" };

/** The one transition function of a question. What comes too late changes nothing. */
export const nextRequestState = (state: State, change: Change): State => {
  if (state.kind === "ended") return state;
  switch (change.kind) {
    case "answer":
      return state.kind === "open" ? { kind: "answering", by: change.by } : state;
    case "reject":
      return { kind: "open" };
    case "accept":
      return state.kind === "answering"
        ? { kind: "ended", end: { outcome: "answered", by: state.by } }
        : state;
    case "withdraw":
      return { kind: "ended", end: { outcome: "withdrawn" } };
    case "expire":
      return state.kind === "open" ? { kind: "ended", end: { outcome: "timeout" } } : state;
  }
};

/** All that one session's runtime has asked and nobody has answered yet, each with a deadline. */
export interface OpenRequests
  extends Pick<SessionRequests, "list" | "find" | "hasEnded" | "takesFrom" | "answer"> {
  readonly size: number;
  /** `asked`: who has been asked already. */
  add(question: PutQuestion, asked: Attachment | undefined): void;
  /** The runtime says that it is over. */
  closed(id: unknown): void;
  /** Nobody can answer any more: as if the time were over. */
  giveUp(id: string): void;
  /** That client has gone, or may answer no more; `successor`: it is attached anew. */
  left(attachment: Attachment, successor?: Attachment): void;
  /** The runtime has no use for an answer any more to those, or to any. */
  withdraw(which?: (request: OpenRequest) => boolean): void;
}

/** More at once are answered as if nobody had in time. A model rarely calls more tools at once than a person has fingers. */
const maxOpen = 200;
const maxRemembered = 1_000;

interface Entry {
  readonly request: OpenRequest;
  readonly question: PutQuestion;
  asked: Attachment | undefined;
  state: State;
  /** The deadline has passed while an answer was on its way. */
  late: boolean;
  /** Settled when every answer that came before has been dealt with. */
  before: Promise<unknown>;
  cancelDeadline(): void;
}

export const createOpenRequests = (options: {
  readonly clock: Clock;
  readonly deadlineMs: number;
  readonly onOpened: (request: OpenRequest) => void;
  readonly onEnded: (request: OpenRequest, end: RequestEnd) => void;
  readonly onTooMany: () => void;
}): OpenRequests => {
  const { clock, deadlineMs } = options;
  const open = new Map<string, Entry>();
  const remembered = new Set<string>();

  const remember = (id: string): void => {
    remembered.add(id);
    if (remembered.size <= maxRemembered) return;
    for (const oldest of remembered) {
      remembered.delete(oldest);
      return;
    }
  };

  const change = (entry: Entry, what: Change): void => {
    if (entry.state.kind === "ended") return;
    entry.state = nextRequestState(entry.state, what);
    if (entry.state.kind !== "ended") return;
    const { question, request, state } = entry;
    entry.cancelDeadline();
    open.delete(request.id);
    remember(request.id);
    question.ended(state.end);
    options.onEnded(request, state.end);
  };

  const entryOf = (id: unknown): Entry | undefined => (typeof id === "string" ? open.get(id) : undefined);

  const handOver = async (entry: Entry, by: User, give: () => Promise<boolean>): Promise<boolean> => {
    if (entry.state.kind === "ended") return false;
    change(entry, { kind: "answer", by });
    try {
      const taken = await give();
      change(entry, { kind: taken ? "accept" : "withdraw" });
      return taken;
    } catch (error) {
      change(entry, { kind: "reject" });
      if (entry.late) change(entry, { kind: "expire" });
      throw error;
    }
  };

  return {
    get size() {
      return open.size;
    },
    get list() {
      return [...open.values()].map(({ request }) => request);
    },
    find: (id) => entryOf(id)?.request,
    hasEnded: (id) => typeof id === "string" && remembered.has(id),
    add(question, asked) {
      if (open.has(question.id)) return;
      if (open.size >= maxOpen) {
        options.onTooMany();
        question.ended({ outcome: "timeout" });
        return;
      }
      const askedAt = clock.now();
      const request: OpenRequest = { ...question, askedAt, expiresAt: askedAt + deadlineMs };
      const entry: Entry = {
        request,
        question,
        asked,
        state: { kind: "open" },
        late: false,
        before: Promise.resolve(),
        cancelDeadline: clock.after(deadlineMs, () => {
          entry.late = true;
          change(entry, { kind: "expire" });
        }),
      };
      open.set(question.id, entry);
      remembered.delete(question.id);
      options.onOpened(request);
    },
    takesFrom({ id, othersMayAnswer }, connectionId) {
      const asked = open.get(id)?.asked;
      return asked === undefined || othersMayAnswer || asked.connection.id === connectionId;
    },
    async answer(id, by, give) {
      const entry = open.get(id);
      if (entry === undefined) return false;
      const answer = entry.before.then(() => handOver(entry, by, give));
      entry.before = answer.catch(() => undefined);
      return answer;
    },
    closed(id) {
      const entry = entryOf(id);
      if (entry === undefined) return;
      // An answer that is on its way is what has settled it.
      change(entry, { kind: entry.state.kind === "answering" ? "accept" : "withdraw" });
    },
    giveUp(id) {
      const entry = open.get(id);
      if (entry !== undefined) change(entry, { kind: "expire" });
    },
    left(attachment, successor) {
      for (const entry of open.values())
        if (entry.asked === attachment) entry.asked = successor ?? entry.question.ask();
    },
    withdraw(which = () => true) {
      for (const entry of [...open.values()]) if (which(entry.request)) change(entry, { kind: "withdraw" });
    },
  };
};
