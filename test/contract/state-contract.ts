import { randomUUID } from "node:crypto";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { Commit, FileChange } from "../../src/store/store.ts";
import {
  append,
  directory,
  type Here,
  held,
  link,
  modes,
  remove,
  replace,
  session,
  texts,
  turn,
} from "./rows.ts";

const code = (code: string) => ({ code });

/** What `StateStore` must do. */
export const stateContract = (here: Here): void => {
  describe("state", () => {
    it("gives files back as they were committed, by path, each scope its own", async () => {
      const { store } = here();
      const one = await held(store);
      const other = await held(store);
      const unit = { key: one.row.unit, maxBytes: 100, files: [replace("home/settings.json", "{}", 0o640)] };
      const files = [replace("b/ü 👩‍🚀", "two", 0o755), replace("a", "one"), replace("empty", "")];
      expect(await one.commit({ files, unit })).toEqual({ version: 1, sizeBytes: 6 });
      await other.commit({ files: [replace("a", "other's")] });

      const stored = await store.state.files({ kind: "session", id: one.row.id });
      expect(modes(stored)).toEqual([
        ["a", 0o600],
        ["b/ü 👩‍🚀", 0o755],
        ["empty", 0o600],
      ]);
      expect(texts(stored)).toEqual({ a: "one", "b/ü 👩‍🚀": "two", empty: "" });
      expect(await other.texts()).toEqual({ a: "other's" });
      const ofUnit = await store.state.files({ kind: "unit", key: one.row.unit });
      expect(modes(ofUnit)).toEqual([["home/settings.json", 0o640]]);
      const scope = { kind: "session", id: one.row.id } as const;
      for (const file of stored) expect(await store.state.file(scope, file.path)).toEqual(file);
      expect(await store.state.file(scope, "A")).toBeUndefined();
      // A session's id is no key of a unit.
      expect(await store.state.files({ kind: "unit", key: one.row.id })).toEqual([]);
      expect(await store.state.files({ kind: "session", id: randomUUID() })).toEqual([]);
      expect((await store.sessions.byId(one.row.id))?.sizeBytes).toBe(6);
    });

    it("stores the record with the files, or neither", async () => {
      const { store } = here();
      const one = await held(store);
      const record = { record: '{"a":1}', createdUpstream: true, at: 12_345 };
      await one.commit({ files: [replace("a", "one")], record });
      const stored = { record: '{"a":1}', createdUpstream: true, updatedAt: 12_345, sizeBytes: 3 };
      expect(await store.sessions.byId(one.row.id)).toMatchObject(stored);
      const files = [append("a", 3, "two"), replace("b", "three")];
      const other = { ...record, record: "{}" };
      await expect(one.commit({ files, record: other, maxBytes: 10 })).rejects.toMatchObject(
        code("too_large"),
      );
      expect(await store.sessions.byId(one.row.id)).toMatchObject(stored);
      await one.commit({ files });
      expect(await store.sessions.byId(one.row.id)).toMatchObject({ ...stored, sizeBytes: 11 });
    });

    it("keeps directories and links, each in place of what had its path, and of a link its text alone", async () => {
      const { store } = here();
      const one = await held(store);
      const { sizeBytes } = await one.commit({
        files: [directory("empty", 0o755), directory("d"), replace("d/a", "one"), link("d/up", "../../ü")],
      });
      expect(sizeBytes).toBe(3 + Buffer.byteLength("../../ü"));
      const scope = { kind: "session", id: one.row.id } as const;
      const first = await store.state.files(scope);
      expect(modes(first)).toEqual([
        ["d", 0o700],
        ["d/a", 0o600],
        ["d/up", undefined],
        ["empty", 0o755],
      ]);
      expect(texts(first)).toMatchObject({ empty: "(directory)", "d/up": "-> ../../ü" });
      expect(await store.state.file(scope, "d/up")).toBeUndefined();
      expect(await store.state.file(scope, "empty")).toBeUndefined();

      for (const path of ["empty", "d/up"])
        await expect(one.commit({ files: [append(path, 0, "x")] })).rejects.toMatchObject(code("internal"));
      for (const target of ["", "a\0b", "\ud800", "n".repeat(5_000)])
        await expect(one.commit({ files: [link("l", target)] })).rejects.toMatchObject(code("internal"));

      const files = [replace("empty", "now a file"), link("d/a", "/etc"), directory("d/up", 0o750)];
      expect((await one.commit({ files })).sizeBytes).toBe(10 + 4);
      expect(await one.texts()).toEqual({
        d: "(directory)",
        "d/a": "-> /etc",
        "d/up": "(directory)",
        empty: "now a file",
      });
      await one.commit({ files: [remove("d/a"), remove("d/up"), remove("empty")] });
      expect(await one.texts()).toEqual({ d: "(directory)" });
      expect((await store.sessions.byId(one.row.id))?.sizeBytes).toBe(0);
    });

    it("begins with epoch 1 and version 0, and with a higher epoch each time, over any connection", async () => {
      const { store, open } = here();
      const row = session();
      await store.sessions.create(row, "a");
      const other = await open();
      expect(await store.state.acquire(row.id, 1)).toEqual({ epoch: 1, version: 0 });
      expect(await other.state.acquire(row.id, 1)).toEqual({ epoch: 2, version: 0 });
      const many = await Promise.all(
        Array.from({ length: 10 }, (_, at) => (at % 2 === 0 ? store : other).state.acquire(row.id, 1)),
      );
      expect(new Set(many.map((taken) => taken?.epoch)).size).toBe(10);
      expect(await store.state.acquire(randomUUID(), 1)).toBeUndefined();
    });

    it("lets nobody commit with an older epoch, another version, or after deletion", async () => {
      const { store, open } = here();
      const one = await held(store);
      await one.commit({ files: [replace("log", "first")] });
      for (const stale of [
        { version: 0 },
        { version: 2 },
        { epoch: one.epoch - 1 },
        { epoch: one.epoch + 1 },
      ]) {
        await expect(one.commit({ ...stale, files: [replace("log", "no")] })).rejects.toMatchObject(
          code("fenced"),
        );
      }
      const other = await open();
      const taken = await other.state.acquire(one.row.id, 2);
      expect(taken).toEqual({ epoch: 2, version: 1 });
      const unit = { key: one.row.unit, maxBytes: 9, files: [replace("x", "no")] };
      await expect(one.commit({ files: [append("log", 5, "no")], unit })).rejects.toMatchObject(
        code("fenced"),
      );
      expect(await one.texts()).toEqual({ log: "first" });
      expect(await store.state.files({ kind: "unit", key: one.row.unit })).toEqual([]);

      await store.sessions.delete(one.row.id);
      await expect(one.commit({ epoch: 2 })).rejects.toMatchObject(code("fenced"));
    });

    it("says what is the newest, and nothing of a session that is not there", async () => {
      const { store } = here();
      const one = await held(store);
      expect(await store.state.newest(one.row.id)).toEqual({ epoch: 1, version: 0 });
      await one.commit({ files: [replace("log", "x")] });
      await store.state.acquire(one.row.id, 1_000);
      expect(await store.state.newest(one.row.id)).toEqual({ epoch: 2, version: 1 });
      expect(await store.state.newest(randomUUID())).toBeUndefined();
    });

    it("lets nobody change a unit in an older epoch of it, nor a session with such a change", async () => {
      const { store } = here();
      const one = await held(store);
      const unit = { key: one.row.unit, maxBytes: 100, files: [replace("u", "first")] };
      const whole = { ...unit, tenant: "acme", isolation: "user" } as const;
      const first = await store.state.acquireUnit(unit.key);
      await one.commit({ unit: { ...unit, epoch: first } });
      const second = await store.state.acquireUnit(unit.key);
      const stale = { epoch: first, files: [replace("u", "late")] };
      await expect(
        one.commit({ files: [replace("log", "x")], unit: { ...unit, ...stale } }),
      ).rejects.toMatchObject(code("fenced"));
      await expect(store.state.commitUnit({ ...whole, ...stale })).rejects.toMatchObject(code("fenced"));
      expect(await one.texts()).toEqual({});
      expect(texts(await store.state.files({ kind: "unit", key: unit.key }))).toEqual({ u: "first" });
      await store.state.commitUnit({ ...whole, epoch: second, files: [replace("u", "second")] });
      expect(texts(await store.state.files({ kind: "unit", key: unit.key }))).toEqual({ u: "second" });
    });

    it("lets one of many commits upon the same version win", async () => {
      const { store, open } = here();
      const other = await open();
      const one = await held(store);
      const results = await Promise.allSettled(
        Array.from({ length: 20 }, (_, at) =>
          (at % 2 === 0 ? store : other).state.commit({
            sessionId: one.row.id,
            epoch: 1,
            version: 0,
            maxBytes: 100,
            files: [replace("winner", `${at}`)],
          }),
        ),
      );
      const winners = results.flatMap(({ status }, at) => (status === "fulfilled" ? [at] : []));
      expect(winners).toHaveLength(1);
      expect(await one.texts()).toEqual({ winner: `${winners[0]}` });
    });

    it("refuses what does not fit what is stored, and keeps nothing of such a commit", async () => {
      const { store } = here();
      const one = await held(store);
      await one.commit({ files: [replace("log", "12345"), replace("empty", "")] });
      const wrong: FileChange[] = [
        append("log", 4, "x"),
        append("log", 6, "x"),
        append("nothing", 0, "x"),
        append("log", 6, ""),
        ...[
          "",
          "/etc/passwd",
          "../x",
          "a/../../x",
          "a//b",
          "./a",
          "a/",
          "a\0b",
          "\ud800",
          "n".repeat(5_000),
        ].map((path) => replace(path, "x")),
      ];
      const row = turn(one.row.id);
      await store.turns.insert(row);
      const end = { ...ended, id: row.id };
      for (const change of wrong) {
        const files = [replace("log", "changed"), remove("empty"), append("log", 7, "!"), change];
        await expect(one.commit({ files, turns: [end] })).rejects.toMatchObject(code("internal"));
        const unit = { key: one.row.unit, maxBytes: 1_000, files: [replace("fine", "x"), change] };
        await expect(one.commit({ files: [remove("log")], unit, turns: [end] })).rejects.toMatchObject(
          code("internal"),
        );
      }
      const foreign = { key: "user/acme/bob", maxBytes: 1_000, files: [replace("x", "x")] };
      await expect(one.commit({ unit: foreign })).rejects.toMatchObject(code("internal"));
      expect(await one.texts()).toEqual({ log: "12345", empty: "" });
      expect(await store.state.files({ kind: "unit", key: one.row.unit })).toEqual([]);
      expect(await store.turns.byId(one.row.id, row.id)).toEqual(row);
      expect(await one.commit({ files: [append("log", 5, "6"), append("empty", 0, "x")] })).toEqual({
        version: 2,
        sizeBytes: 7,
      });
    });

    it("refuses what is too large, but lets what is too large already shrink and end its turns", async () => {
      const { store } = here();
      const one = await held(store);
      await one.commit({ files: [replace("log", "12345")], maxBytes: 5 });
      await expect(one.commit({ files: [append("log", 5, "6")], maxBytes: 5 })).rejects.toMatchObject({
        code: "too_large",
        details: { limit: 5, size: 6, scope: "session" },
      });
      const unit = { key: one.row.unit, maxBytes: 3, files: [replace("work/a", "1234")] };
      await expect(one.commit({ files: [replace("log", "1")], unit })).rejects.toMatchObject({
        code: "too_large",
        details: { limit: 3, size: 4, scope: "unit" },
      });
      expect(await one.texts()).toEqual({ log: "12345" });

      const row = turn(one.row.id);
      await store.turns.insert(row);
      await one.commit({ maxBytes: 2, turns: [{ ...ended, id: row.id }] });
      expect((await store.turns.byId(one.row.id, row.id))?.state).toBe("completed");
      expect(await one.commit({ files: [replace("log", "1234")], maxBytes: 2 })).toMatchObject({
        sizeBytes: 4,
      });
      // What is removed makes room for what comes.
      await one.commit({ files: [replace("new", "12"), remove("log")], maxBytes: 2 });
      expect(await one.texts()).toEqual({ new: "12" });
    });

    it("ends the turn with the files of it, both or none", async () => {
      const { store } = here();
      const one = await held(store);
      const row = turn(one.row.id);
      await store.turns.insert(row);
      const end = { ...ended, id: row.id, runtimeMessageId: "m1", inputTokens: 3, outputTokens: 4 };
      await one.commit({ files: [replace("log", "x")], turns: [end] });
      expect(await store.turns.byId(one.row.id, row.id)).toEqual({ ...row, ...end });
      await one.commit({ turns: [{ ...end, reason: "again" }] });
      await expect(
        one.commit({ files: [replace("log", "y")], turns: [{ ...end, state: "failed", reason: "late" }] }),
      ).rejects.toMatchObject(code("fenced"));
      expect(await store.turns.byId(one.row.id, row.id)).toEqual({ ...row, ...end });
      expect(await one.texts()).toEqual({ log: "x" });

      const foreign = turn((await held(store)).row.id);
      await store.turns.insert(foreign);
      await expect(one.commit({ turns: [{ ...ended, id: foreign.id }] })).rejects.toMatchObject(
        code("fenced"),
      );
      expect((await store.turns.byId(foreign.sessionId, foreign.id))?.state).toBe("begun");
    });

    it("equals a plain map of files, whatever is committed, also when it was refused", async () => {
      const { store, open } = here();
      const other = await open();
      await fc.assert(
        fc.asyncProperty(fc.array(fc.array(step, { maxLength: 6 }), { maxLength: 30 }), async (commits) => {
          const one = await held(store);
          let model = new Map<string, string>();
          for (const steps of commits) {
            const next = new Map(model);
            const files = steps.flatMap((made) => apply(next, made));
            const size = [...next.values()].reduce((sum, text) => sum + text.length, 0);
            const refused = steps.some(({ kind }) => kind === "wrong");
            if (refused) await expect(one.commit({ files })).rejects.toMatchObject(code("internal"));
            else {
              expect((await one.commit({ files })).sizeBytes).toBe(size);
              model = next;
            }
            const stored = await other.state.files({ kind: "session", id: one.row.id });
            expect(texts(stored)).toEqual(Object.fromEntries(model));
          }
        }),
        { numRuns: 40, seed: 4 },
      );
    });

    it("stores a large commit whole or not at all: many entries, large files, each in place of what had its path", async () => {
      const { store } = here();
      const one = await held(store);
      const many = (text: string) =>
        Array.from({ length: 400 }, (_, at) => replace(`d/${at}`, `${text} ${at}`));
      const large = (letter: string) => replace("large", letter.repeat(5 * 2 ** 20 + 1));
      const first = [
        directory("d"),
        replace("log", "12345"),
        large("a"),
        replace("x", "a file"),
        ...many("first"),
      ];
      await one.commit({ files: first });
      const before = await one.texts();
      expect(before).toEqual(texts(first));

      const changed = [...many("second, longer"), large("b"), link("x", "/etc"), append("log", 5, "6")];
      const refused: [string, Partial<Commit>][] = [
        ["fenced", { files: changed, epoch: one.epoch - 1 }],
        ["too_large", { files: changed, maxBytes: 100 }],
        ["internal", { files: [...changed, append("new", 3, "x")] }],
        ["internal", { files: [...changed, remove("../x")] }],
        ["internal", { files: [...changed, replace("a//b", "x")] }],
      ];
      for (const [why, commit] of refused) {
        await expect(one.commit(commit), why).rejects.toMatchObject(code(why));
        expect(await one.texts()).toEqual(before);
      }
      const unit = { key: one.row.unit, maxBytes: 1e9, files: many("the unit's") };
      const { sizeBytes } = await one.commit({ files: changed, unit });
      const after = {
        ...before,
        ...texts([...many("second, longer"), large("b"), link("x", "/etc")]),
        log: "123456",
      };
      expect(await one.texts()).toEqual(after);
      const size = (value: string) => Buffer.byteLength(value);
      const inAll = Object.entries(after).reduce(
        (sum, [path, value]) => sum + (path === "d" ? 0 : size(value) - (path === "x" ? size("-> ") : 0)),
        0,
      );
      expect(sizeBytes).toBe(inAll);
      expect(texts(await store.state.files({ kind: "unit", key: one.row.unit }))).toEqual(texts(unit.files));

      const { sizeBytes: left } = await one.commit({
        files: [...many("").map(({ path }) => remove(path)), remove("large")],
      });
      expect(await one.texts()).toEqual({ d: "(directory)", log: "123456", x: "-> /etc" });
      expect(left).toBe(6 + 4);
    });

    it("gives a file of many small appends back whole, through every compaction", async () => {
      const { store } = here();
      const one = await held(store);
      let text = "begin\n";
      await one.commit({ files: [replace("log", text), replace("beside", "x")] });
      for (let at = 0; at < 200; at++) {
        const line = `${at}: ${"·".repeat(at % 7)}\n`;
        await one.commit({ files: [append("log", Buffer.byteLength(text), line)] });
        text += line;
        if (at % 3 === 0) expect(await one.texts()).toEqual({ log: text, beside: "x" });
      }
      expect(await one.texts()).toEqual({ log: text, beside: "x" });
      expect((await store.sessions.byId(one.row.id))?.sizeBytes).toBe(Buffer.byteLength(text) + 1);
    });
  });
};

const ended = {
  state: "completed",
  endedAt: 5_000,
  reason: null,
  runtimeMessageId: null,
  inputTokens: 0,
  outputTokens: 0,
  content: null,
  joined: null,
} as const;

interface Step {
  readonly kind: "append" | "replace" | "remove" | "wrong";
  readonly path: string;
  readonly text: string;
}

const step: fc.Arbitrary<Step> = fc.record({
  kind: fc.oneof(
    { weight: 12, arbitrary: fc.constant("append" as const) },
    { weight: 3, arbitrary: fc.constant("replace" as const) },
    { weight: 2, arbitrary: fc.constant("remove" as const) },
    { weight: 1, arbitrary: fc.constant("wrong" as const) },
  ),
  path: fc.constantFrom("events.jsonl", "events.jsonl.1", "checkpoints/1", "constructor"),
  text: fc.string({ unit: fc.constantFrom("a", "b", "\n", "0"), maxLength: 12 }),
});

/** The change that a step means for the files as they are, and its effect on them. */
const apply = (files: Map<string, string>, { kind, path, text }: Step): FileChange[] => {
  const before = files.get(path);
  switch (kind) {
    case "append":
      files.set(path, (before ?? "") + text);
      return [before === undefined ? replace(path, text) : append(path, before.length, text)];
    case "replace":
      files.set(path, text);
      return [replace(path, text)];
    case "remove":
      files.delete(path);
      return [remove(path)];
    case "wrong":
      return [append(path, (before?.length ?? 0) + 1, text)];
  }
};
