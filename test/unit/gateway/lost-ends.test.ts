import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, it, vi } from "vitest";
import { isObject } from "../../../src/kernel/json.ts";
import { settle, startFakeNode } from "./fake-node.ts";

/** A turn of one client that runs, and a message of another's that waits; the first is being aborted. */
const setUp = async () => {
  const node = await startFakeNode();
  const heard = (): { readonly ends: unknown[]; readonly link: Parameters<typeof node.connect>[0] } => {
    const ends: unknown[] = [];
    const note = (params: unknown): void => {
      const { type, data } = isObject(params) && isObject(params.event) ? params.event : {};
      if (type === "session.idle") ends.push(isObject(data) && data.aborted === true ? "aborted" : "idle");
      if (type === "session.error") ends.push("error");
    };
    const sendRaw = (body: Buffer): void => note(JSON.parse(body.toString()).params);
    return { ends, link: { notify: (_method, params) => note(params), sendRaw } };
  };
  const [first, second] = [heard(), heard()];
  const [one, two] = [node.connect(first.link), node.connect(second.link)];
  await one.request("session.create", { sessionId: "s" });
  await two.request("session.resume", { sessionId: "s" });
  const { turn } = await one.send({ sessionId: "s", prompt: "one" });
  const { turn: next } = await two.send({ sessionId: "s", prompt: "two" });
  const [host] = node.gateway.hosts;
  const id = host?.row.id ?? "";
  node.hold("session.metadata.isProcessing");
  let asked = 0;
  /** A second passes, and the runtime says that it does nothing. */
  const idles = async (): Promise<void> => {
    node.clock.advance(1_000);
    (await node.call("session.metadata.isProcessing", asked++)).answer({ processing: false });
    await settle();
  };
  return {
    node,
    turn,
    next,
    idles,
    directory: host?.runtime?.sessionDirectory(id) ?? "",
    event: (type: string, data?: unknown) => node.event(id, type, data),
    abort: () => one.abort("s"),
    remove: () => one.request("session.delete", { sessionId: "s" }),
    ends: { first: first.ends, second: second.ends },
  };
};

describe("an end that the runtime does not tell", () => {
  it("is told to who waits for it, and the next turn begins", async () => {
    const { node, turn, next, idles, event, abort, ends } = await setUp();
    await using _node = node;
    await abort();
    await idles();
    await idles();
    expect((await turn.ended).kind).toBe("aborted");
    expect(ends).toEqual({ first: ["aborted"], second: [] });
    await node.call("session.send", 1);
    await settle();
    event("session.idle");
    expect((await next.ended).kind).toBe("completed");
    expect(ends).toEqual({ first: ["aborted"], second: ["idle"] });
  });

  it("is not told a second time when it has come and waits until what was before it is stored", async () => {
    const { node, turn, next, idles, directory, event, abort, ends } = await setUp();
    await using _node = node;
    await mkdir(directory, { recursive: true });
    await writeFile(join(directory, "events.jsonl"), "{}\n");
    node.clock.advance(1_000);
    const stored = Promise.withResolvers<void>();
    const commit = node.store.state.commit.bind(node.store.state);
    const storing = vi.spyOn(node.store.state, "commit").mockImplementationOnce(async (changes) => {
      await stored.promise;
      return commit(changes);
    });
    event("assistant.turn_end");
    await vi.waitFor(() => expect(storing).toHaveBeenCalled());
    await abort();
    event("session.idle", { aborted: true });
    await idles();
    await idles();
    expect(turn.state.kind).toBe("running");
    stored.resolve();
    expect((await turn.ended).kind).toBe("aborted");
    await node.call("session.send", 1);
    await settle();
    expect([next.state.kind, ends]).toEqual(["running", { first: ["aborted"], second: [] }]);
    event("session.idle");
    expect((await next.ended).kind).toBe("completed");
  });

  it("ends nothing that counts when it cannot be stored, and asks no more when the session is deleted", async () => {
    const { node, turn, next, idles, abort, remove, ends } = await setUp();
    await using _node = node;
    vi.spyOn(node.store.state, "commit").mockRejectedValueOnce(new Error("The disk is full."));
    await abort();
    await idles();
    await idles();
    expect((await turn.ended).kind).toBe("interrupted");
    expect(ends.first[0]).toBe("error");
    await node.call("session.send", 1);
    await settle();
    await remove();
    expect((await next.ended).kind).toBe("interrupted");
    const asks = () => node.calls.filter(({ method }) => method === "session.metadata.isProcessing").length;
    const before = asks();
    for (let second = 0; second < 5; second++) {
      node.clock.advance(1_000);
      await settle();
    }
    expect(asks()).toBe(before);
  });
});
