import { SquadronError } from "../kernel/errors.ts";
import { isObject } from "../kernel/json.ts";
import type { Envelope } from "../wire/envelope.ts";
import type { Attachment } from "./vocabulary.ts";

/** Of one attachment; each is registered again at every wake. */
const maxInterests = 100;

export const interestHandle = (frame: Envelope): string => {
  const result = frame.result();
  return isObject(result) && typeof result.handle === "string" ? result.handle : "";
};

/** Registers a client's interest in a type of events, which then outlives the runtime. Rejects with `rate_limited`. */
export const registerInterest = async (
  attachment: Attachment,
  eventType: string,
  call: (method: string, params: { readonly eventType: string }) => Promise<Envelope>,
): Promise<Envelope> => {
  if (attachment.interests.size >= maxInterests)
    throw new SquadronError(
      "rate_limited",
      `This client has ${maxInterests} interests in the session's events; release one first.`,
      { details: { limit: maxInterests } },
    );
  const frame = await call("session.eventLog.registerInterest", { eventType });
  const handle = interestHandle(frame);
  attachment.interests.set(handle, { eventType, handle });
  return frame;
};
