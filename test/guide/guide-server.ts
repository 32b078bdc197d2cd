/**
 * A server as the guide builds it, as a process that can be stopped: answers one message of the team's chat under the
 * guide's lock, prints what it answered, and ends.
 */
import { CopilotClient, RuntimeConnection } from "@github/copilot-sdk";
import { Redis } from "ioredis";
import { type GuideSessionConfig, teamChatRoute } from "./guide-way.ts";

/** The one argument, as JSON. */
export interface GuideServerOptions {
  readonly redis: string;
  readonly keyPrefix: string;
  readonly cliUrl: string;
  readonly token: string;
  readonly config: GuideSessionConfig;
  readonly timeoutSec: number;
  readonly message: string;
}

const { redis, keyPrefix, cliUrl, token, config, timeoutSec, message } = JSON.parse(
  process.argv[2] ?? "",
) as GuideServerOptions;
const connection = new Redis(redis, { keyPrefix });
const client = new CopilotClient({
  connection: RuntimeConnection.forUri(cliUrl, { connectionToken: token }),
});
const { content } = await teamChatRoute(connection, client, config, timeoutSec)({ body: { message } });
process.stdout.write(`${content}\n`);
await client.stop();
connection.disconnect();
