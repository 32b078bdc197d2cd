/**
 * A model server for demonstrations and tests that says it is none: OpenAI-compatible, on loopback, with answers
 * from a script instead of a model. What it does on request is in the table at the top of `script.ts`.
 *
 * As a program: `node demo/scripted-model.ts [--port N]` prints its URL and runs until it is ended;
 * `SCRIPTED_MODEL_KEY` in the environment makes it require that key.
 */
import { once } from "node:events";
import { createServer } from "node:http";
import { parseArgs } from "node:util";
import { SquadronError } from "../src/kernel/errors.ts";
import { createModelHandler, type ModelHandler, type ModelOptions } from "./model-handler.ts";

export interface ScriptedModel extends Pick<ModelHandler, "requests" | "release" | "holding"> {
  /** The base URL for a provider: `http://127.0.0.1:PORT/v1`. */
  readonly url: string;
  readonly port: number;
  /** Ends every running reply and the server. */
  close(): Promise<void>;
}

/** Starts a scripted model on 127.0.0.1; port 0 (the default) takes a free one. Rejects when the port is taken. */
export const startScriptedModel = async (
  options: ModelOptions & { readonly port?: number } = {},
): Promise<ScriptedModel> => {
  const handler = createModelHandler(options);
  const server = createServer((request, response) => void handler.handle(request, response));
  server.listen(options.port ?? 0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  if (address === null || typeof address === "string")
    throw new SquadronError("internal", "The scripted model listens on no TCP port.");
  return {
    url: `http://127.0.0.1:${address.port}/v1`,
    port: address.port,
    requests: handler.requests,
    release: handler.release,
    holding: handler.holding,
    close: async () => {
      handler.stop();
      const closed = once(server, "close");
      server.close();
      server.closeAllConnections();
      await closed;
    },
  };
};

if (import.meta.main) {
  const { values } = parseArgs({ options: { port: { type: "string", default: "0" } } });
  const apiKey = process.env.SCRIPTED_MODEL_KEY;
  const model = await startScriptedModel({ port: Number(values.port), ...(apiKey ? { apiKey } : {}) });
  console.log(`Scripted model, not an AI: ${model.url}`);
}
