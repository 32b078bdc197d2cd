import { assertMayDecide, type Part } from "../policy/session-rights.ts";
import { RawJson } from "../wire/peer.ts";
import { wasTaken } from "./event-requests.ts";
import type { GatewayServices } from "./gateway-services.ts";
import type { Connection, SessionHost } from "./vocabulary.ts";

/** As a runtime says it of a request that has been answered already. */
const refusal = { success: false } as const;

/**
 * An SDK client's answer to what a runtime has asked. Of those who may answer only the one that is asked is heard, see
 * `SessionRequests.takesFrom`; of what is not known here, or not any more, only owners' answers reach the runtime.
 */
export const answerOverSdk = async (
  { audit }: Pick<GatewayServices, "audit">,
  connection: Connection,
  { row, call, requests }: SessionHost,
  part: Part,
  method: string,
  params: Readonly<Record<string, unknown>>,
): Promise<unknown> => {
  const { requestId } = params;
  if (requests.ofPolicy(requestId)) return refusal;
  const request = requests.find(requestId);
  if (!requests.mayAnswer(request, connection.principal)) {
    if (!requests.hasEnded(requestId))
      audit.record(connection.principal, {
        action: "request.answer",
        target: row.publicId,
        outcome: "forbidden",
        detail: method,
      });
    return refusal;
  }
  if (method === "session.permissions.handlePendingPermissionRequest") assertMayDecide(part, params.result);
  if (request === undefined) return new RawJson((await call(method, params)).resultBytes());
  if (!requests.takesFrom(request, connection.id)) return refusal;
  let answer: unknown = refusal;
  await requests.answer(request.id, connection.principal, async () => {
    const frame = await call(method, params);
    answer = new RawJson(frame.resultBytes());
    return wasTaken(frame);
  });
  return answer;
};
