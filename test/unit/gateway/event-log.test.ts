import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { createEventLog, type EventLog, type LogEntry } from "../../../src/gateway/event-log.ts";
import { parsePosition } from "../../../src/gateway/event-position.ts";
import { type EventReader, openEventReader } from "../../../src/gateway/event-reader.ts";
import { SquadronError } from "../../../src/kernel/errors.ts";
import { startOfHistory, storedEventsOf } from "../../../src/sessions/stored-events.ts";
import { ManualClock } from "../../support/manual-clock.ts";

const line = (id: string): string => `${JSON.stringify({ type: "assistant.message", id, data: {} })}\n`;

/** A session whose runtimes and nodes come and go: what is stored, what was only told, and the log that tells it. */
const createWorld = (bounds = { entries: 6, bytes: 400 }) => {
  const clock = new ManualClock();
  let made = 0;
  let stored: string[] = [];
  let told: string[] = [];
  /** Stored, and told in a moment. */
  let held: string[] = [];
  /** What the runtime has cut off and not stored yet. */
  let cut = 0;
  let asleep = false;
  let finish = (): void => undefined;
  const newLog = (): EventLog =>
    createEventLog({ clock, bounds, show: (event) => event, onQuiet: () => undefined });
  let log = newLog();
  const last = (): string => stored.at(-1) ?? startOfHistory;
  const say = (id: string, bytes: number): void =>
    log.tell({ type: "assistant.message", id, data: () => Buffer.from(JSON.stringify("x".repeat(bytes))) });
  log.restored(last());
  return {
    clock,
    get log() {
      return log;
    },
    get history(): readonly string[] {
      return [...stored, ...told];
    },
    tell(bytes = 20) {
      this.work();
      const id = `e${++made}`;
      told.push(id);
      say(id, bytes);
    },
    /** Says the last event once more. */
    repeat() {
      const id = told.at(-1);
      if (id !== undefined) say(id, 20);
    },
    delta(bytes = 20) {
      this.work();
      const data = Buffer.from(JSON.stringify({ n: ++made, text: "x".repeat(bytes) }));
      log.tell({ type: "assistant.message_delta", data: () => data });
    },
    /** Stores the first `count` of what was told; the log hears of it later if it is `late`. */
    commit(count = told.length, late = false) {
      this.store(cut > 0 ? told.length : count, 0);
      if (!late) this.settle();
    },
    /** Stores all, with some events that are told only then. */
    commitAhead(count: number, late = false) {
      this.store(told.length, count);
      if (!late) this.settle();
    },
    store(most: number, ahead: number) {
      this.work();
      const count = Math.min(most, told.length);
      const rewritten = cut > 0;
      held = Array.from({ length: ahead }, () => `e${++made}`);
      const over = log.storing();
      stored = [...stored.slice(0, stored.length - cut), ...told.slice(0, count), ...held];
      told = told.slice(count);
      cut = 0;
      const now = stored;
      const tail = storedEventsOf(Buffer.from([...now.slice(now.length - count - ahead)].map(line).join("")));
      finish = () => {
        if (rewritten) log.rewritten(last(), (id) => now.includes(id));
        else log.stored(last(), tail);
        over();
      };
    },
    /** The last two are told in another order than they are stored in. */
    swap() {
      held.reverse();
      const [before, after] = told.slice(-2);
      if (before !== undefined && after !== undefined) told.splice(-2, 2, after, before);
    },
    /** The log hears of what has been stored. */
    settle() {
      finish();
      finish = () => undefined;
    },
    release() {
      this.settle();
      for (const id of held) say(id, 20);
      held = [];
    },
    /** The runtime is gone; the next one begins from what is stored. What is held is still told, or by nobody. */
    loseRuntime(silent: boolean) {
      this.settle();
      if (silent) held = [];
      this.release();
      told = [];
      cut = 0;
      log.left();
      asleep = true;
    },
    loseNode() {
      asleep = true;
      told = [];
      held = [];
      cut = 0;
      finish = () => undefined;
      log = newLog();
    },
    /** Before a runtime says anything it has been given what is stored. */
    work() {
      this.release();
      if (asleep) log.restored(last());
      asleep = false;
    },
    /** A client has the runtime forget the end of its history, which is stored with what comes next. */
    truncate(count: number) {
      this.commit();
      cut = Math.min(stored.length, count);
    },
    readStored: async () => storedEventsOf(Buffer.from(stored.map(line).join(""))),
  };
};

type World = ReturnType<typeof createWorld>;

/** What a client makes of the events that it gets: it knows nothing but the rule for `stream.rewind`. */
const createClient = (world: World, from: "start" | "now" = "start") => {
  const joined: string[] = [];
  const deltas: number[] = [];
  let last: string | undefined = from === "start" ? startOfHistory : undefined;
  let reader: EventReader | undefined;

  const take = ({ id, type, data }: LogEntry): void => {
    last = id;
    const place = parsePosition(id);
    if (place === undefined) throw new Error(`${id} is no position`);
    if (type === "stream.rewind") {
      const { to } = JSON.parse(data.toString()) as { to: string };
      joined.length = to === startOfHistory ? 0 : joined.indexOf(to) + 1;
    } else if (type === "assistant.message") joined.push(place.told);
    else deltas.push((JSON.parse(data.toString()) as { n: number }).n);
  };

  return {
    joined,
    deltas,
    get last() {
      return last;
    },
    get connected() {
      return reader !== undefined;
    },
    async connect(signal = new AbortController().signal) {
      reader = await openEventReader({
        log: world.log,
        position: last === undefined ? undefined : parsePosition(last),
        readStored: world.readStored,
        show: (event) => event,
        listener: () => undefined,
        signal,
      });
      last = reader.begin;
    },
    /** Takes up to `most` events; a reader that is told to come again does. */
    read(most = Number.MAX_SAFE_INTEGER) {
      for (let left = most; left > 0 && reader !== undefined; left--) {
        const found = reader.next();
        if (found.kind === "wait") return;
        if (found.kind === "entry") take(found.entry);
        else this.drop();
      }
    },
    drop() {
      reader?.close();
      reader = undefined;
    },
  };
};

type Client = ReturnType<typeof createClient>;

type Step =
  | { readonly kind: "tell" | "delta"; readonly bytes: number }
  | { readonly kind: "commit"; readonly most: number; readonly late: boolean }
  /** For so long that nothing is kept for anybody. */
  | { readonly kind: "nobody" }
  | { readonly kind: "ahead"; readonly count: number; readonly late: boolean }
  | { readonly kind: "lose runtime"; readonly silent: boolean }
  | { readonly kind: "lose node" | "wake" | "release" | "repeat" | "swap" }
  | { readonly kind: "truncate"; readonly count: number }
  | { readonly kind: "connect" | "drop"; readonly client: number }
  | { readonly kind: "read"; readonly client: number; readonly most: number };

const clients = 2;
const client = fc.nat(clients - 1);
const bytes = fc.oneof({ weight: 9, arbitrary: fc.nat(30) }, { weight: 1, arbitrary: fc.constant(500) });
const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 6, arbitrary: fc.record({ kind: fc.constantFrom("tell" as const, "delta" as const), bytes }) },
  {
    weight: 2,
    arbitrary: fc.record({ kind: fc.constant("commit" as const), most: fc.nat(6), late: fc.boolean() }),
  },
  {
    weight: 2,
    arbitrary: fc.record({ kind: fc.constant("lose runtime" as const), silent: fc.boolean() }),
  },
  { weight: 1, arbitrary: fc.constant({ kind: "lose node" as const }) },
  {
    weight: 2,
    arbitrary: fc.record({
      kind: fc.constant("ahead" as const),
      count: fc.integer({ min: 1, max: 3 }),
      late: fc.boolean(),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.constantFrom(
      { kind: "wake" as const },
      { kind: "release" as const },
      { kind: "repeat" as const },
      { kind: "swap" as const },
    ),
  },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant("truncate" as const), count: fc.nat(4) }) },
  { weight: 2, arbitrary: fc.constant({ kind: "nobody" as const }) },
  {
    weight: 6,
    arbitrary: fc.record({ kind: fc.constantFrom("connect" as const, "drop" as const), client }),
  },
  { weight: 8, arbitrary: fc.record({ kind: fc.constant("read" as const), client, most: fc.nat(4) }) },
);

/** A reader has one of two events, told and not stored, when they turn out to be stored the other way round. */
const orderLost: Step[] = [
  { kind: "tell", bytes: 0 },
  { kind: "connect", client: 0 },
  { kind: "tell", bytes: 500 },
  { kind: "swap" },
];

const isRising = (numbers: readonly number[]): boolean =>
  numbers.every((number, at) => at === 0 || number > (numbers[at - 1] ?? 0));

const follow = async (client: Client): Promise<void> => {
  const stop = new AbortController();
  // Waiting for what cannot be told before the next commit is no error; the next attempt comes after one.
  const opened = client.connect(stop.signal).catch(() => undefined);
  await new Promise<void>((resolve) => setImmediate(resolve));
  stop.abort(new SquadronError("cancelled", "not now"));
  await opened;
};

const run = async (world: World, readers: readonly Client[], one: Step): Promise<void> => {
  switch (one.kind) {
    case "tell":
      return world.tell(one.bytes);
    case "delta":
      return world.delta(one.bytes);
    case "commit":
      return world.commit(one.most, one.late);
    case "ahead":
      return world.commitAhead(one.count, one.late);
    case "wake":
      return world.work();
    case "release":
      return world.release();
    case "swap":
      return world.swap();
    case "repeat":
      return world.repeat();
    case "lose runtime":
      return world.loseRuntime(one.silent);
    case "lose node":
      for (const reader of readers) reader.drop();
      return world.loseNode();
    case "nobody":
      for (const reader of readers) reader.drop();
      return world.clock.advance(200_000);
    case "truncate":
      return world.truncate(one.count);
  }
  const reader = readers[one.client];
  if (reader === undefined) return;
  if (one.kind === "read") reader.read(one.most);
  else if (one.kind === "drop") reader.drop();
  else if (!reader.connected) await follow(reader);
};

describe("the log of a session's events", () => {
  test("gives every reader the one history, however often it is cut off, and no delta twice", async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 1, maxLength: 60 }), async (steps) => {
        const world = createWorld();
        const readers = Array.from({ length: clients }, () => createClient(world));
        for (const one of steps) await run(world, readers, one);
        world.commit();
        for (const reader of readers) {
          for (let tries = 0; tries < 50 && !(reader.connected && tries > 0); tries++) {
            reader.read();
            if (!reader.connected) await follow(reader);
            reader.read();
          }
          expect(reader.connected).toBe(true);
          expect(reader.joined).toEqual(world.history);
          expect(isRising(reader.deltas)).toBe(true);
        }
      }),
      { numRuns: 1_500, examples: [[orderLost]] },
    );
  });

  test("leaves out nothing, not a delta, as long as it remembers", async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 1, maxLength: 60 }), async (steps) => {
        const world = createWorld({ entries: 1_000, bytes: 1_000_000 });
        const reader = createClient(world, "now");
        const untouched = createClient(world, "now");
        await follow(reader);
        await follow(untouched);
        for (const one of steps) {
          if (!["lose node", "truncate", "nobody", "swap"].includes(one.kind))
            await run(world, [reader], one);
        }
        if (!reader.connected) await follow(reader);
        world.release();
        for (const client of [reader, untouched]) client.read();
        expect(reader.joined).toEqual([...world.history]);
        expect(reader.deltas).toEqual(untouched.deltas);
        expect(reader.last).toBe(untouched.last);
      }),
      { numRuns: 200 },
    );
  });

  test("keeps no delta while nobody reads, and forgets what it kept after two minutes", async () => {
    const world = createWorld({ entries: 100, bytes: 10_000 });
    world.log.tell({
      type: "assistant.message_delta",
      data: () => expect.unreachable("Nobody reads what is serialised here."),
    });
    const reader = createClient(world);
    await follow(reader);
    world.delta();
    world.delta();
    reader.drop();
    world.delta();
    world.clock.advance(119_000);
    await follow(reader);
    reader.read();
    expect(reader.deltas).toEqual([1, 2, 3]);
    reader.drop();
    world.delta();
    world.clock.advance(120_000);
    world.delta();
    expect(world.log.followed).toBe(false);
    await follow(reader);
    world.delta();
    reader.read();
    expect(reader.deltas).toEqual([1, 2, 3, 6]);
  });

  test("ends for its readers when the session is deleted, after what was told before", async () => {
    const world = createWorld();
    const reader = createClient(world);
    await follow(reader);
    world.tell();
    world.log.end(new SquadronError("session_deleted", "gone"));
    reader.read();
    expect(reader).toMatchObject({ joined: ["e1"], connected: false });
  });
});
