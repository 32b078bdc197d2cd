import type { HttpMcpServer } from "../config/http-sessions.ts";
import type { Clock } from "../kernel/clock.ts";
import { failureOf } from "../models/failure.ts";
import type { Upstream } from "../models/upstream.ts";
import type { Log } from "../telemetry/log.ts";

/** Those of the MCP servers that answer anything at all. */
export type AnsweringServers = (
  servers: Readonly<Record<string, HttpMcpServer>>,
) => Promise<Readonly<Record<string, HttpMcpServer>>>;

const answerWithinMs = 3_000;
/** For so long the last answer counts. */
const knownForMs = 10_000;

const ping = Buffer.from(JSON.stringify({ jsonrpc: "2.0", id: 1, method: "ping" }));

/**
 * A runtime that is given a server which takes connections and says nothing waits for it for longer than a session may
 * take to open; of one that cannot be reached it tells clients the address.
 */
export const createAnsweringServers = (options: {
  readonly upstream: Upstream;
  readonly clock: Clock;
  readonly log: Log;
}): AnsweringServers => {
  const { upstream, clock, log } = options;
  const known = new WeakMap<HttpMcpServer, { readonly at: number; readonly answers: Promise<boolean> }>();

  const tryOne = async (name: string, { url, headers }: HttpMcpServer): Promise<boolean> => {
    const late = new AbortController();
    const cancelDeadline = clock.after(answerWithinMs, () => late.abort());
    try {
      const { body } = await upstream.request({
        target: new URL(url),
        method: "POST",
        headers: {
          ...Object.fromEntries(
            Object.entries(headers).map(([header, value]) => [header.toLowerCase(), value.reveal()]),
          ),
          "content-type": "application/json",
          accept: "application/json, text/event-stream",
        },
        body: ping,
        signal: late.signal,
      });
      body.on("error", () => undefined).destroy();
      return true;
    } catch (error) {
      const { code, cause } = failureOf(error);
      const failure = late.signal.aborted ? "silent" : code;
      log.warn(
        { server: name, failure, cause },
        "an MCP server of a policy does not answer: sessions are opened without it",
      );
      return false;
    } finally {
      cancelDeadline();
    }
  };

  const answers = (name: string, server: HttpMcpServer): Promise<boolean> => {
    const now = clock.monotonic();
    const last = known.get(server);
    if (last !== undefined && now - last.at < knownForMs) return last.answers;
    const one = { at: now, answers: tryOne(name, server) };
    known.set(server, one);
    return one.answers;
  };

  return async (servers) => {
    const tried = await Promise.all(
      Object.entries(servers).map(async ([name, server]) =>
        (await answers(name, server)) ? [[name, server]] : [],
      ),
    );
    return Object.fromEntries(tried.flat());
  };
};
