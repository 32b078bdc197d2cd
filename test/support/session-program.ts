/**
 * One program that uses nothing but the official SDK, as an application would. It is run against a bare runtime and
 * against Squadron, and what it saw (its transcript) must be equal. It knows neither, and needs only the scripted model.
 */
import type {
  CopilotClient,
  CopilotSession,
  ProviderConfig,
  SessionConfig,
  SessionEvent,
} from "@github/copilot-sdk";
import { countTypes, createNormaliser, inLanes, type NormalEvent } from "./normalise.ts";
import { type HandlerCall, handlersOf } from "./program-handlers.ts";
import { eventually, within } from "./wait.ts";

export interface ProgramOptions {
  /** A new client of the same user at each call. The program stops it. */
  readonly makeClient: () => CopilotClient;
  /** Given on to create and resume; without it the server must know the model's provider. */
  readonly provider?: ProviderConfig;
  /** The session id that the client chooses, unique to this run. */
  readonly ids: { readonly session: string };
  /**
   * Does a client that has asked before see the end of a turn that another one asked for? Not through Squadron
   * (docs/equality.md): the program waits for no such end then, and leaves them out of what was seen in either case.
   */
  readonly foreignEnds: boolean;
}

/** One step of the program: what each attached client saw of the conversation, in order. */
export interface Phase {
  readonly name: string;
  /** The answer, or what else the step gave back. */
  readonly result: unknown;
  /** By client (`a`, `b`, `c`): types in order. */
  readonly events: Readonly<Record<string, readonly string[]>>;
  /** By client: types whose place among the others differs from run to run, counted. */
  readonly floating: Readonly<Record<string, Readonly<Record<string, number>>>>;
}

export interface Transcript {
  readonly phases: readonly Phase[];
  /** What the handlers were called with, in order. */
  readonly calls: readonly HandlerCall[];
  /** The history as `getEvents` gives it at the end: the conversation in order, all else counted. */
  readonly history: readonly NormalEvent[];
  readonly historyCounts: Readonly<Record<string, number>>;
  /** Events of the other lanes that client `a` saw while it was alone, counted. */
  readonly hooks: Readonly<Record<string, number>>;
  readonly model: Readonly<Record<string, number>>;
  /** Distinct kinds of lifecycle notifications about the session, by client, sorted. */
  readonly lifecycle: Readonly<Record<string, readonly string[]>>;
}

/** Types that end a turn. */
const ends: ReadonlySet<string> = new Set(["assistant.idle", "session.idle"]);

const turnDeadlineMs = 30_000;

interface Attached {
  readonly name: string;
  readonly client: CopilotClient;
  readonly session: CopilotSession;
  readonly events: SessionEvent[];
}

/** Runs the program once. Rejects when a step does not end in time; every client is stopped in any case. */
export const runSessionProgram = async (options: ProgramOptions): Promise<Transcript> => {
  const { makeClient, provider, ids } = options;
  // One for each section: ids are numbered in the order of appearance, which holds only inside a section.
  const newNormaliser = () => createNormaliser({ [ids.session]: "session" });
  const results = newNormaliser();
  const inputs = newNormaliser();
  const phases: Phase[] = [];
  const calls: HandlerCall[] = [];
  const lifecycle: Record<string, Set<string>> = {};
  const clients: CopilotClient[] = [];
  const attached: Attached[] = [];
  const haveAsked = new Set<Attached>();
  /** Those to whom the running turn is somebody else's. */
  let bystanders: ReadonlySet<Attached> = new Set();

  const connect = (name: string): CopilotClient => {
    const client = makeClient();
    clients.push(client);
    const kinds = new Set<string>();
    lifecycle[name] = kinds;
    client.onLifecycle((event) => {
      if (event.sessionId === ids.session) kinds.add(event.type);
    });
    return client;
  };

  const note = (call: HandlerCall): void => {
    calls.push({ ...call, input: inputs.value(call.input) });
  };

  const common = {
    model: "scripted-1",
    streaming: true,
    availableTools: ["custom:*", "builtin:ask_user"],
    systemMessage: { mode: "append", content: "The password of the program is xyzzy." },
    ...(provider && { provider }),
  } satisfies Partial<SessionConfig>;

  const attach = async (
    name: string,
    client: CopilotClient,
    open: (onEvent: (event: SessionEvent) => void) => Promise<CopilotSession>,
  ): Promise<Attached> => {
    const events: SessionEvent[] = [];
    const one = { name, client, session: await open((event) => events.push(event)), events };
    attached.push(one);
    return one;
  };

  /** Runs a step and notes what it gave back, as `show` puts it, and what everybody saw meanwhile. */
  const phase = async <T>(
    name: string,
    step: () => Promise<T>,
    show: (value: T) => unknown = (value) => value,
  ) => {
    const before = new Map(attached.map((one) => [one, one.events.length]));
    const value = await within(step(), { what: `phase "${name}"`, deadlineMs: turnDeadlineMs });
    const seen = attached.map((one) => {
      const events = one.events.slice(before.get(one) ?? 0);
      return [one.name, bystanders.has(one) ? events.filter(({ type }) => !ends.has(type)) : events] as const;
    });
    bystanders = new Set();
    phases.push({
      name,
      result: results.value(show(value)),
      events: Object.fromEntries(
        seen.map(([client, events]) => [client, inLanes(events, "conversation").map((event) => event.type)]),
      ),
      floating: Object.fromEntries(
        seen.map(([client, events]) => [client, countTypes(inLanes(events, "floating"))]),
      ),
    });
    return value;
  };

  const endSeen = (one: Attached, from: number) => {
    const last = bystanders.has(one) && !options.foreignEnds ? "assistant.turn_end" : "session.idle";
    return eventually(() => one.events.slice(from).some((event) => event.type === last), {
      what: `client ${one.name} sees ${last}`,
      deadlineMs: turnDeadlineMs,
    });
  };

  /** Asks, and waits until everybody has seen the end of the turn. */
  const ask = async (one: Attached, prompt: string): Promise<unknown> => {
    bystanders = new Set(attached.filter((other) => other !== one && haveAsked.has(other)));
    haveAsked.add(one);
    const from = attached.map((other) => other.events.length);
    const answer = await one.session.sendAndWait({ prompt }, turnDeadlineMs);
    await Promise.all(attached.map((other, index) => endSeen(other, from[index] ?? 0)));
    return answer?.data.content;
  };

  const opened = ({ session }: Attached) => ({
    sessionId: session.sessionId,
    elicitation: session.capabilities.ui?.elicitation,
  });

  const detach = async (one: Attached): Promise<void> => {
    attached.splice(attached.indexOf(one), 1);
    await one.session.disconnect();
  };

  try {
    const clientA = connect("a");
    const first = await phase(
      "create",
      () =>
        attach("a", clientA, (onEvent) =>
          clientA.createSession({ ...common, ...handlersOf("a", note), sessionId: ids.session, onEvent }),
        ),
      opened,
    );
    const turn = (name: string, prompt: string) => phase(name, () => ask(first, prompt));

    await turn("first turn", "hello");
    await turn("streaming", "[[tokens 5]]");
    await turn("full history", "[[recall]] [[count]]");
    await turn("system message and tools", "[[knows xyzzy]] [[tools]]");
    await turn("tool", '[[call lookup {"q":"one"}]]');
    await turn("two tools", '[[call lookup {"q":"two"}]] [[call guarded {"q":"three"}]]');
    await turn("permission refused", '[[call guarded {"q":"refuse me"}]]');
    await turn("hook changes arguments", '[[call lookup {"q":"change me"}]]');
    await turn("hook changes the prompt", "rewrite me");
    await turn("user input", '[[call ask_user {"question":"Which colour?","choices":["red","blue"]}]]');
    await phase("elicitation", async () => {
      const from = first.events.length;
      const answers = {
        confirm: await first.session.ui.confirm("Really?"),
        select: await first.session.ui.select("Which?", ["red", "blue"]),
        input: await first.session.ui.input("What?"),
      };
      const completed = () =>
        first.events.slice(from).filter((event) => event.type === "elicitation.completed");
      await eventually(() => completed().length === 3, { what: "the elicitations are completed" });
      return answers;
    });
    await phase("abort", async () => {
      const from = first.events.length;
      await first.session.send({ prompt: `[[echo held and never released]] [[hold ${ids.session}]]` });
      await eventually(
        () => first.events.slice(from).some((event) => event.type === "assistant.message_delta"),
        { what: "the turn streams" },
      );
      await first.session.abort();
      await endSeen(first, from);
    });
    await turn("after the abort", "[[count]]");
    await phase("other model", async () => {
      await first.session.setModel("scripted-2");
      return ask(first, "[[model]]");
    });

    const alone = [...first.events];

    const clientB = connect("b");
    const second = await phase(
      "second client attaches",
      () => attach("b", clientB, (onEvent) => clientB.resumeSession(ids.session, { ...common, onEvent })),
      opened,
    );
    await phase("second client asks", () => ask(second, "[[echo to the second]] [[count]]"));
    await phase("first client asks", () => ask(first, "[[echo to the first]] [[count]]"));
    await phase("second client leaves", () => detach(second));
    await turn("first client remains", "[[count]]");
    await phase("first client leaves", () => detach(first));
    await clientA.stop();
    await clientB.stop();

    const clientC = connect("c");
    const third = await phase(
      "third client resumes",
      () =>
        attach("c", clientC, (onEvent) =>
          clientC.resumeSession(ids.session, { ...common, ...handlersOf("c", note), onEvent }),
        ),
      opened,
    );
    await phase("full history after resume", () =>
      ask(third, "[[recall]] [[count]] [[knows xyzzy]] [[model]]"),
    );
    await phase("tool after resume", () => ask(third, '[[call guarded {"q":"four"}]]'));

    const events = await third.session.getEvents();
    await phase("list", async () =>
      (await clientC.listSessions()).filter((session) => session.sessionId === ids.session),
    );
    await phase("metadata", () => clientC.getSessionMetadata(ids.session));
    await phase("delete", async () => {
      await detach(third);
      await clientC.deleteSession(ids.session);
      await eventually(() => lifecycle.c?.has("session.deleted"), { what: "the deletion is notified" });
      const left = await clientC.listSessions();
      return {
        listed: left.some((session) => session.sessionId === ids.session),
        metadata: await clientC.getSessionMetadata(ids.session),
        resume: await clientC.resumeSession(ids.session, common).then(
          () => "resumed",
          () => "refused",
        ),
      };
    });

    return {
      phases,
      calls,
      history: newNormaliser().events(inLanes(events, "conversation", "attachment")),
      historyCounts: countTypes(inLanes(events, "hooks", "floating")),
      hooks: countTypes(inLanes(alone, "hooks")),
      model: countTypes(inLanes(alone, "model")),
      lifecycle: Object.fromEntries(
        Object.entries(lifecycle).map(([name, kinds]) => [name, [...kinds].sort()]),
      ),
    };
  } finally {
    await Promise.all(clients.map((client) => client.stop()));
  }
};
