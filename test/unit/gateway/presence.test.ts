import { describe, expect, it } from "vitest";
import { createPresence, type PresentUser } from "../../../src/gateway/presence.ts";
import type { Attachment, SessionHost } from "../../../src/gateway/vocabulary.ts";
import type { SessionName, SessionRole } from "../../../src/store/store.ts";
import { createLog } from "../../../src/telemetry/log.ts";
import { ManualClock } from "../../support/manual-clock.ts";
import { settle } from "./fake-node.ts";

const part = (user: string, role: SessionRole): SessionName => ({ tenant: "acme", user, name: "n", role });

const clientOf = (user: string, kind: "sdk" | "http" = "sdk"): Attachment =>
  ({ connection: { principal: { user }, link: { kind } } }) as unknown as Attachment;

const setUp = () => {
  const clock = new ManualClock();
  const attachments: Attachment[] = [];
  const state = {
    participants: [part("carol", "reader"), part("alice", "owner"), part("bob", "writer")],
    reads: 0,
    failures: 0,
    hold: undefined as Promise<void> | undefined,
  };
  const presence = createPresence({
    clock,
    log: createLog({ level: "silent" }),
    store: {
      sessions: {
        async namesOf() {
          state.reads++;
          if (state.failures-- > 0) throw new Error("The disk is full.");
          const { participants } = state;
          await state.hold;
          return participants;
        },
      },
    },
    hostOf: (session) => (session === "s" ? ({ attachments } as unknown as SessionHost) : undefined),
  });
  /** A reader of the stream, and what it was told: `user+` is attached, `user~` types. */
  const follow = (user: string) => {
    const told: string[] = [];
    const stop = presence.follow("s", user, (event) => {
      const { type, ephemeral, timestamp, data } = JSON.parse(event.toString());
      expect([type, ephemeral, new Date(timestamp).toISOString()]).toEqual(["presence", true, timestamp]);
      const users = data.users as readonly PresentUser[];
      told.push(
        users
          .map(({ user, attached, typing }) => user + (attached ? "+" : "") + (typing ? "~" : ""))
          .join(" "),
      );
    });
    return { told, stop };
  };
  /** Whatever is due and what follows from it. */
  const pass = async (ms: number): Promise<void> => {
    clock.advance(ms);
    await settle();
  };
  return { clock, presence, attachments, state, follow, pass };
};

describe("presence", () => {
  it("is told whole at the begin and at each change, and the same is not told twice", async () => {
    const { presence, follow, pass, attachments } = setUp();
    const alice = follow("alice");
    await settle();
    expect(alice.told).toEqual(["alice+ bob carol"]);
    const bob = follow("bob");
    await pass(250);
    expect([alice.told.at(-1), bob.told]).toEqual(["alice+ bob+ carol", ["alice+ bob+ carol"]]);
    const again = follow("bob");
    await pass(250);
    expect([alice.told.length, bob.told.length, again.told.length]).toEqual([2, 1, 1]);
    again.stop();
    await pass(250);
    expect(alice.told.length).toBe(2);
    bob.stop();
    await pass(250);
    expect(alice.told.at(-1)).toBe("alice+ bob carol");
    attachments.push(clientOf("bob", "http"));
    presence.moved("s");
    await pass(250);
    expect(alice.told.length).toBe(3);
    attachments.push(clientOf("bob"));
    presence.moved("s");
    await pass(250);
    expect(alice.told.at(-1)).toBe("alice+ bob+ carol");
    expect([presence.of("s", "bob"), presence.of("s", "carol"), presence.of("other", "bob")]).toEqual([
      { attached: true, typing: false },
      { attached: false, typing: false },
      { attached: false, typing: false },
    ]);
  });

  it("says the role of each, in an order that does not change", async () => {
    const { presence, pass } = setUp();
    const seen: unknown[] = [];
    presence.follow("s", "bob", (event) => seen.push(JSON.parse(event.toString()).data));
    await pass(0);
    expect(seen).toEqual([
      {
        users: [
          { user: "alice", role: "owner", attached: false, typing: false },
          { user: "bob", role: "writer", attached: true, typing: false },
          { user: "carol", role: "reader", attached: false, typing: false },
        ],
      },
    ]);
  });

  it("tells at most four times a second, and then what is so at last", async () => {
    const { presence, follow, pass, state } = setUp();
    const alice = follow("alice");
    await settle();
    for (let at = 0; at < 100; at++) {
      presence.typing("s", "bob", at % 2 === 0);
      await pass(10);
    }
    presence.typing("s", "carol", true);
    await pass(250);
    expect(alice.told.length).toBeLessThanOrEqual(6);
    expect(alice.told.length).toBeGreaterThanOrEqual(3);
    expect(alice.told.at(-1)).toBe("alice+ bob carol~");
    expect(state.reads).toBeLessThanOrEqual(6);
  });

  it("ends typing by itself after 10 s, counted from when it was said last", async () => {
    const { clock, presence, follow, pass } = setUp();
    const alice = follow("alice");
    await settle();
    presence.typing("s", "bob", true);
    await pass(9_000);
    presence.typing("s", "bob", true);
    await pass(9_999);
    expect([alice.told.at(-1), presence.of("s", "bob").typing]).toEqual(["alice+ bob~ carol", true]);
    await pass(1);
    expect([alice.told, presence.of("s", "bob").typing]).toEqual([
      ["alice+ bob carol", "alice+ bob~ carol", "alice+ bob carol"],
      false,
    ]);
    presence.typing("s", "bob", true);
    await pass(250);
    presence.typing("s", "bob", false);
    await pass(250);
    expect(alice.told.slice(3)).toEqual(["alice+ bob~ carol", "alice+ bob carol"]);
    alice.stop();
    expect(clock.pending).toBe(0);
  });

  it("tells at once who takes part from now on, also when it is just telling something", async () => {
    const { presence, follow, pass, state } = setUp();
    const alice = follow("alice");
    await settle();
    state.participants = [part("alice", "owner")];
    presence.participantsChanged("s");
    await settle();
    expect(alice.told).toEqual(["alice+ bob carol", "alice+"]);
    const { promise, resolve } = Promise.withResolvers<void>();
    state.hold = promise;
    presence.typing("s", "alice", true);
    await pass(250);
    state.participants = [part("alice", "owner"), part("dora", "writer")];
    presence.participantsChanged("s");
    resolve();
    await settle();
    expect(alice.told.slice(2)).toEqual(["alice+~", "alice+~ dora"]);
  });

  it("tells a large room less often: not more than its share of bytes", async () => {
    const { presence, follow, pass, state } = setUp();
    state.participants = Array.from({ length: 500 }, (_, at) => part(`user-${at}`, "writer"));
    const readers = Array.from({ length: 400 }, () => follow("user-0"));
    await settle();
    const bytes = 400 * 500 * '{"user":"user-100","role":"writer","attached":false,"typing":false},'.length;
    for (let at = 0; at < 40; at++) {
      presence.typing("s", `user-${at}`, true);
      if (at % 10 === 0) presence.participantsChanged("s");
      await pass(250);
    }
    const told = readers[0]?.told.length ?? 0;
    expect(told).toBeGreaterThan(4);
    expect(told).toBeLessThan(2 + 10_000 / (bytes / 10_000));
  });

  it("reads participants again when it could not, and tells nobody of a session that is no more", async () => {
    const { follow, pass, state } = setUp();
    state.failures = 1;
    const alice = follow("alice");
    await settle();
    expect(alice.told).toEqual([]);
    await pass(1_000);
    expect([alice.told, state.reads]).toEqual([["alice+ bob carol"], 2]);
    state.participants = [];
    const bob = follow("bob");
    await pass(250);
    expect([alice.told.length, bob.told]).toEqual([1, []]);
  });

  it("asks nothing and holds nothing when nobody listens", async () => {
    const { clock, presence, follow, pass, state } = setUp();
    presence.moved("s");
    presence.participantsChanged("s");
    presence.typing("s", "bob", true);
    await pass(5_000);
    expect([state.reads, presence.of("s", "bob").typing]).toEqual([0, true]);
    const alice = follow("alice");
    await settle();
    expect(alice.told).toEqual(["alice+ bob~ carol"]);
    follow("bob").stop();
    alice.stop();
    await pass(10_000);
    expect([clock.pending, state.reads]).toEqual([0, 1]);
  });
});
