import type { GatewayServices } from "./gateway-services.ts";
import { noticeTo } from "./own-notice.ts";
import type { Connection } from "./vocabulary.ts";

/** SDKs send these whatever their program wants; to leave them out is no news to it. */
const sentByThemselves: ReadonlySet<string> = new Set([
  "clientName",
  "continuePendingWork",
  "disableResume",
  "envValueMode",
  "hooks",
  "includeSubAgentStreamingEvents",
  "requestElicitation",
  "requestPermission",
  "requestUserInput",
  "sessionId",
  "streaming",
  "traceparent",
  "tracestate",
]);

/** What a participant's client has asked for that does not count, since only the founder's clients change a session. */
export const ignoredIn = (parameters: Readonly<Record<string, unknown>>): readonly string[] =>
  Object.entries(parameters)
    .filter(([name, value]) =>
      name === "hooks"
        ? value === true
        : !sentByThemselves.has(name) && value !== undefined && value !== false,
    )
    .map(([name]) => name)
    .sort();

/** Says so to the client, just after the answer to what it asked: its program listens from then on. */
export const tellIgnored = (
  { clock }: Pick<GatewayServices, "clock">,
  connection: Connection,
  name: string,
  ignored: readonly string[],
): void => {
  if (ignored.length === 0) return;
  setImmediate(() => {
    if (!connection.attachments.has(name)) return;
    noticeTo(connection, name, clock, "session.warning", {
      warningType: "squadron",
      message: `You take part in a session that somebody else has made; only its founder changes it. Ignored: ${ignored.join(", ")}.`,
    });
  });
};
