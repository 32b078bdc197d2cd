import { describe, expect, it } from "vitest";
import type { ClientLink } from "../../../src/gateway/vocabulary.ts";
import { settle, startFakeNode } from "./fake-node.ts";

type Node = Awaited<ReturnType<typeof startFakeNode>>;

const idOf = (node: Node, at = 0): string => node.gateway.hosts[at]?.row.id ?? "";

/** A link that notes the types of the events that it is told. */
const listening = (): { readonly seen: string[]; readonly link: Partial<ClientLink> } => {
  const seen: string[] = [];
  return {
    seen,
    link: {
      notify: (_method, params) => void seen.push((params as { event: { type: string } }).event.type),
      sendRaw: (body) => void seen.push(JSON.parse(body.toString()).params.event.type),
    },
  };
};

const count = (node: Node, method: string): number =>
  node.calls.filter((call) => call.method === method).length;

describe("a session that is woken", () => {
  it("loses no event when two calls wake it at once", async () => {
    await using node = await startFakeNode();
    const { seen, link } = listening();
    const one = node.connect(link);
    await one.request("session.create", { sessionId: "s" });
    node.crash();
    node.hold("session.create");
    const sent = one.request("session.send", { sessionId: "s", prompt: "p" });
    const creation = await node.call("session.create", 1);
    const read = one.request("session.getMessages", { sessionId: "s" });
    node.hold("session.mode.get");
    creation.answer({});
    (await node.call("session.mode.get", 1)).answer({});
    await sent;
    await settle();
    node.event(idOf(node), "user.message", { messageId: "runtime-message-1" });
    expect(seen).toContain("user.message");
    await read;
  });

  it("gets a message in another runtime when the first one dies over waking it", async () => {
    await using node = await startFakeNode();
    const one = node.connect();
    await one.request("session.create", { sessionId: "s" });
    node.crash();
    node.hold("session.create");
    const sent = one.request("session.send", { sessionId: "s", prompt: "p" });
    await node.call("session.create", 1);
    node.crash();
    (await node.call("session.create", 2)).answer({});
    expect(await sent).toMatchObject({ messageId: "runtime-message-1" });
    expect(count(node, "session.send")).toBe(1);
  });

  it("tells that the message was not taken when every runtime dies over waking it", async () => {
    await using node = await startFakeNode();
    const one = node.connect();
    await one.request("session.create", { sessionId: "s" });
    const id = idOf(node);
    node.crash();
    node.hold("session.create");
    const sent = one.request("session.send", { sessionId: "s", prompt: "p" });
    const refused = expect(sent).rejects.toMatchObject({ code: "runtime_gone" });
    for (let nth = 1; nth <= 3; nth++) {
      await node.call("session.create", nth);
      node.crash();
    }
    await refused;
    await settle();
    expect((await node.store.turns.list(id, { limit: 10 })).map(({ state }) => state)).toEqual(["refused"]);
  });

  it("is not given a message whose turn has ended meanwhile", async () => {
    await using node = await startFakeNode({
      limits: { turnTimeoutMs: 1_000, queueLength: 10, callbackTimeoutMs: 1_000, maxSizeBytes: 1_000_000 },
    });
    const one = node.connect();
    await one.request("session.create", { sessionId: "s" });
    node.crash();
    node.hold("session.create");
    const sent = one.request("session.send", { sessionId: "s", prompt: "p" });
    const late = expect(sent).rejects.toMatchObject({ code: "turn_timeout" });
    const creation = await node.call("session.create", 1);
    node.clock.advance(1_000);
    await settle();
    node.clock.advance(10_000);
    await late;
    creation.answer({});
    await settle();
    expect(count(node, "session.send")).toBe(0);
  });
});
