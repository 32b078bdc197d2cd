import type { Clock } from "../kernel/clock.ts";
import { noticeTo } from "./own-notice.ts";
import { noLongerPart } from "./session-access.ts";
import type { Attachment } from "./vocabulary.ts";

/**
 * Tells the client of an attachment, which is no more, that its user takes no part in the session any more. A request
 * over HTTP ends with that; an SDK's connection stays, for other sessions: whoever waits there for an answer gets the
 * error, and to a program the session is deleted.
 */
export const dismiss = ({ connection, name }: Attachment, clock: Clock): void => {
  const { link } = connection;
  const reason = noLongerPart();
  if (link.kind === "http") {
    link.close(reason);
    return;
  }
  noticeTo(connection, name, clock, "session.error", { errorType: "squadron", message: reason.message });
  link.notify("session.lifecycle", { type: "session.deleted", sessionId: name });
};
