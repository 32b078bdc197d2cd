import { newUuid } from "../kernel/ids.ts";
import { noLongerPart } from "./session-access.ts";
import type { Attachment } from "./vocabulary.ts";

/**
 * Tells the client of an attachment, which is no more, that its user takes no part in the session any more. A request
 * over HTTP ends with that; an SDK's connection stays, for other sessions: whoever waits there for an answer gets the
 * error, and to a program the session is deleted.
 */
export const dismiss = ({ connection: { link }, name }: Attachment, now: number): void => {
  const reason = noLongerPart();
  if (link.kind === "http") {
    link.close(reason);
    return;
  }
  link.notify("session.event", {
    sessionId: name,
    event: {
      id: newUuid(),
      timestamp: new Date(now).toISOString(),
      parentId: null,
      ephemeral: true,
      type: "session.error",
      data: { errorType: "squadron", message: reason.message },
    },
  });
  link.notify("session.lifecycle", { type: "session.deleted", sessionId: name });
};
