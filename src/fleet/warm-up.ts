import type { Clock } from "../kernel/clock.ts";
import { withDeadline } from "../kernel/deadline.ts";
import { newUuid } from "../kernel/ids.ts";
import { isObject } from "../kernel/json.ts";
import type { Peer, PeerHandler } from "../wire/peer.ts";

/** Nobody listens there; the runtime asks us instead. */
const provider = { type: "openai", baseUrl: "http://127.0.0.1:1/v1", apiKey: "none" };

/**
 * Lets a runtime run a turn of a session that is deleted again: it loads most of itself with the first one (about 110 ms
 * and 80 MiB, 1.0.85), which the first user of a spare need not wait for. Its model call is refused, and no file is left
 * (tried). Settings that are put there afterwards are read afresh (tried). Rejects with `timeout` after `ms`.
 */
export const warmUp = async (
  peer: Peer,
  serve: (handler: PeerHandler) => void,
  { clock, ms }: { readonly clock: Clock; readonly ms: number },
): Promise<void> => {
  const sessionId = newUuid();
  const idle = Promise.withResolvers<void>();
  const refuse = async (requestId: unknown): Promise<void> => {
    await peer.request("llmInference.httpResponseStart", { requestId, status: 400, headers: {} });
    await peer.request("llmInference.httpResponseChunk", { requestId, data: "", end: true });
  };
  serve({
    async request(frame) {
      const params = frame.params();
      if (frame.method === "llmInference.httpRequestStart" && isObject(params))
        setImmediate(() => refuse(params.requestId).catch(idle.reject));
      return {};
    },
    notification(frame) {
      if (frame.eventType === "session.idle") idle.resolve();
    },
  });
  const turn = async (): Promise<void> => {
    await peer.request("session.create", { sessionId, model: "none", provider, availableTools: [] });
    await peer.request("session.send", { sessionId, prompt: "." });
    await idle.promise;
    await peer.request("session.delete", { sessionId });
  };
  await withDeadline(turn(), { clock, ms, what: "Warming a runtime up" });
};
