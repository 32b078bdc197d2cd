import type { Clock } from "../kernel/clock.ts";
import { newUuid } from "../kernel/ids.ts";
import type { Json } from "../kernel/json.ts";
import { type Envelope, readEnvelope } from "../wire/envelope.ts";
import type { ClientLink } from "./vocabulary.ts";

const eventOf = (clock: Pick<Clock, "now">, type: string, data: Json) => ({
  id: newUuid(),
  timestamp: new Date(clock.now()).toISOString(),
  parentId: null,
  ephemeral: true,
  type,
  data,
});

/** Tells a client what no runtime has said, as an event of the session that it calls `name`; no history has it. */
export const noticeTo = (
  { link }: { readonly link: ClientLink },
  name: string,
  clock: Pick<Clock, "now">,
  type: string,
  data: Json,
): void => link.notify("session.event", { sessionId: name, event: eventOf(clock, type, data) });

/** The same as if the session's runtime had told it. */
export const noticeOf = (
  sessionId: string,
  clock: Pick<Clock, "now">,
  type: string,
  data: Json,
): Envelope => {
  const params = { sessionId, event: eventOf(clock, type, data) };
  return readEnvelope(Buffer.from(JSON.stringify({ jsonrpc: "2.0", method: "session.event", params })));
};
