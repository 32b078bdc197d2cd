import type { CopilotSession } from "@github/copilot-sdk";
import type { HttpClient } from "../support/http-client.ts";
import type { UserName } from "../support/test-node.ts";

/** Says something in a session and gives the text of the answer. */
export const say = async (session: CopilotSession, prompt: string): Promise<string | undefined> =>
  (await session.sendAndWait({ prompt }))?.data.content;

/** A new session over HTTP: its public id. */
export const newSession = async (http: HttpClient, user: UserName, body: object = {}): Promise<string> => {
  const { status, body: made } = await http.call(user, "POST", "/v1/sessions", body);
  if (status !== 201) throw new Error(`The session was not made: ${JSON.stringify(made)}`);
  return String(made.id);
};
