import { once } from "node:events";
import { createServer, type ServerResponse } from "node:http";
import {
  bearerOf,
  createModelHandler,
  type ModelHandler,
  scriptedModels,
  sendJson,
} from "../../demo/model-handler.ts";

/** The two users that the stand-in knows, by token. */
export const gitHubUsers = {
  "token-alice": { login: "alice", copilot_plan: "individual_pro" },
  "token-bob": { login: "bob", copilot_plan: "business" },
} as const;

export interface GitHubStandIn
  extends AsyncDisposable,
    Pick<ModelHandler, "requests" | "release" | "holding"> {
  readonly url: string;
  /** What a runtime needs in its environment to take this server for GitHub. */
  readonly env: Readonly<Record<string, string>>;
  close(): Promise<void>;
}

const modelList = {
  data: scriptedModels.map((id) => ({
    id,
    name: id,
    capabilities: { supports: { vision: true }, limits: { max_context_window_tokens: 128_000 } },
  })),
};

/** Starts a loopback server that stands in for GitHub: who a token is, which models there are, and their calls. */
export const startGitHubStandIn = async (): Promise<GitHubStandIn> => {
  const model = createModelHandler();
  const users = new Map<string, { login: string; copilot_plan: string }>(Object.entries(gitHubUsers));
  let url = "";

  const sendUser = (response: ServerResponse, token: string): void => {
    const user = users.get(token);
    if (!user) sendJson(response, 401, { message: "Bad credentials" });
    else
      sendJson(response, 200, {
        ...user,
        is_mcp_enabled: true,
        endpoints: { api: url, telemetry: `${url}/telemetry` },
        analytics_tracking_id: `${user.login}-tracking-id`,
      });
  };

  const server = createServer((request, response) => {
    response.setHeader("x-github-request-id", "stand-in");
    const path = new URL(request.url ?? "/", "http://localhost").pathname;
    if (path === "/copilot_internal/user") return sendUser(response, bearerOf(request));
    if (path === "/models") return sendJson(response, 200, modelList);
    void model.handle(request, response);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  if (address === null || typeof address === "string")
    throw new Error("The stand-in listens on no TCP port.");
  url = `http://127.0.0.1:${address.port}`;

  const close = async () => {
    model.stop();
    const closed = once(server, "close");
    server.close();
    server.closeAllConnections();
    await closed;
  };
  return {
    url,
    env: { COPILOT_DEBUG_GITHUB_API_URL: url, COPILOT_API_URL: url },
    requests: model.requests,
    release: model.release,
    holding: model.holding,
    close,
    [Symbol.asyncDispose]: close,
  };
};
