import type { Clock } from "../kernel/clock.ts";
import { newUuid } from "../kernel/ids.ts";
import type { Json } from "../kernel/json.ts";
import type { ClientLink } from "./vocabulary.ts";

/** Tells a client what no runtime has said, as an event of the session that it calls `name`; no history has it. */
export const noticeTo = (
  { link }: { readonly link: ClientLink },
  name: string,
  clock: Pick<Clock, "now">,
  type: string,
  data: Json,
): void =>
  link.notify("session.event", {
    sessionId: name,
    event: {
      id: newUuid(),
      timestamp: new Date(clock.now()).toISOString(),
      parentId: null,
      ephemeral: true,
      type,
      data,
    },
  });
