import { Command, Option } from "commander";
import { z } from "zod";
import { httpUrl } from "../endpoints.ts";
import { configOption, readConfig } from "./configuration.ts";
import { CommandFailure, exitCodes } from "./failure.ts";
import { plain } from "./terminal.ts";

const answerWithinMs = 30_000;

export interface NodeOptions {
  readonly url?: string;
  readonly key?: string;
  /** Where the address comes from when no URL is given. */
  readonly config?: string;
}

const urlOption = (): Option =>
  new Option(
    "-u, --url <url>",
    "HTTP address of the node (default: http.host and http.port of the configuration)",
  ).env("SQUADRON_URL");

const keyOption = (): Option =>
  new Option("-k, --key <key>", "your key; in the environment other users of this host cannot read it").env(
    "SQUADRON_KEY",
  );

/** A command that speaks with a node. */
export const nodeCommand = (name: string): Command =>
  new Command(name)
    .addOption(urlOption())
    .addOption(keyOption())
    .addOption(configOption())
    .option("--json", "print JSON");

/** Plain HTTP with a node, as the owner of a key. Failures are `CommandFailure`s. */
export interface NodeClient {
  readonly url: string;
  /** Sends a request and checks the answer; with `accept`, answers of these failure statuses are checked as well. */
  call<Schema extends z.ZodType>(
    method: "GET" | "POST" | "DELETE",
    path: string,
    schema: Schema,
    options?: { readonly body?: unknown; readonly accept?: readonly number[] },
  ): Promise<z.output<Schema>>;
}

const problem = z.looseObject({ detail: z.string(), code: z.string() });

/** A client of the node that the options name. Rejects with `config_invalid` when the address must come from the configuration. */
export const nodeClient = async ({ url: given, key, config }: NodeOptions): Promise<NodeClient> => {
  const url = baseOf(given ?? httpUrl(await readConfig(config)));
  const noNode = (why: string, cause?: unknown) =>
    new CommandFailure(
      exitCodes.unreachable,
      `No Squadron node answers at ${url} (${why}). Is it up? Another address goes into --url or SQUADRON_URL.`,
      { cause },
    );

  const send = async (method: string, path: string, body: unknown): Promise<Response> => {
    try {
      return await fetch(`${url}${path}`, {
        method,
        headers: {
          ...(key !== undefined && { authorization: `Bearer ${key}` }),
          ...(body !== undefined && { "content-type": "application/json" }),
        },
        ...(body !== undefined && { body: JSON.stringify(body) }),
        redirect: "error",
        signal: AbortSignal.timeout(answerWithinMs),
      });
    } catch (error) {
      throw noNode(reasonOf(error), error);
    }
  };

  return {
    url,
    async call(method, path, schema, { body, accept = [] } = {}) {
      const response = await send(method, path, body);
      const text = await response.text().catch((error: unknown) => {
        throw noNode(reasonOf(error), error);
      });
      const answer = parsed(text);
      if (!response.ok && !accept.includes(response.status)) {
        const { data } = problem.safeParse(answer);
        if (data === undefined) throw noNode(`something else does, with status ${response.status}`);
        throw refusalOf(response.status, plain(data.detail), key !== undefined);
      }
      const checked = schema.safeParse(answer);
      if (!checked.success) throw noNode("what answers there is something else, or of another version");
      return checked.data;
    },
  };
};

const refusalOf = (status: number, detail: string, hasKey: boolean): CommandFailure => {
  if (status !== 401 && status !== 403) return new CommandFailure(exitCodes.failed, detail);
  const hint = hasKey ? "" : " Give one with SQUADRON_KEY or --key.";
  return new CommandFailure(exitCodes.refused, `The node refused: ${detail}${hint}`);
};

const baseOf = (text: string): string => {
  const url = URL.parse(text);
  if (url === null || !/^https?:$/.test(url.protocol)) {
    throw new CommandFailure(
      exitCodes.usage,
      `--url must be an http or https URL such as http://127.0.0.1:8080.`,
    );
  }
  return url.href.replace(/\/+$/, "");
};

const parsed = (text: string): unknown => {
  if (text === "") return undefined;
  try {
    return JSON.parse(text);
  } catch {
    // Not JSON, so no answer of a node: the schema says so.
    return undefined;
  }
};

/** The reason of a failed `fetch`, which hides it in the cause. */
const reasonOf = (error: unknown): string => {
  const cause = error instanceof Error && error.cause !== undefined ? error.cause : error;
  if (!(cause instanceof Error)) return "unknown reason";
  return "code" in cause && typeof cause.code === "string" ? cause.code : cause.message;
};
