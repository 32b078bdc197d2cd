import { CopilotClient, type CopilotClientOptions, RuntimeConnection } from "@github/copilot-sdk";
import { loadConfig } from "./config/load.ts";
import { isPrincipalName, principalNameForm } from "./config/principal-name.ts";
import type { SquadronOptions } from "./embed-options.ts";
import { httpUrl, sdkEndpoint } from "./endpoints.ts";
import { SquadronError } from "./kernel/errors.ts";
import { startNode } from "./node.ts";

/** A user of a tenant, as the program that embeds Squadron knows them. */
export interface SquadronUser {
  readonly tenant: string;
  readonly user: string;
}

/** A node inside this process. */
export interface Squadron extends AsyncDisposable {
  /** `host:port` for SDK clients of other processes, which need a key. */
  readonly sdkEndpoint: string;
  /** Base URL of the HTTP API. */
  readonly httpUrl: string;
  /** The first admin key, when the store had none and the options name none; it is told this once. */
  readonly firstAdminKey: string | undefined;
  /**
   * A connected, official SDK client that is this user: no key is needed, since the caller says who it is. Stop it when it
   * is no longer needed; a stopped one does not connect again, ask for another. Rejects with `invalid_request` for a name
   * that no principal may have.
   */
  clientFor(user: SquadronUser, options?: Omit<CopilotClientOptions, "connection">): Promise<CopilotClient>;
  /** Closes the doors, ends every runtime, closes the store. Clients that are still connected are disconnected. */
  close(): Promise<void>;
}

export const Squadron = {
  /**
   * Starts a node in this process. `options` have the shape of `squadron.yaml` and go before the `SQUADRON_…` variables of
   * the environment; relative paths start at the current directory. Rejects with `config_invalid`, with `store_unavailable`,
   * or with the system's error when a port is taken.
   */
  async start(options: SquadronOptions = {}): Promise<Squadron> {
    const node = await startNode(await loadConfig({ env: process.env, overrides: options }));
    const close = (): Promise<void> => node.close();
    return {
      sdkEndpoint: sdkEndpoint(node),
      httpUrl: httpUrl(node),
      firstAdminKey: node.firstAdminKey?.reveal(),
      async clientFor({ tenant, user }, clientOptions) {
        for (const [field, name] of Object.entries({ tenant, user })) {
          if (!isPrincipalName(name)) {
            throw new SquadronError("invalid_request", `A ${field}'s name must have ${principalNameForm}.`, {
              details: { parameter: field },
            });
          }
        }
        const token = node.identity.oneTimeToken({ tenant, user, roles: ["user"] });
        const client = new CopilotClient({
          ...clientOptions,
          connection: RuntimeConnection.forUri(sdkEndpoint(node), { connectionToken: token.reveal() }),
        });
        // At once, so that the token is used up before anybody else sees the client.
        await client.start();
        return client;
      },
      close,
      [Symbol.asyncDispose]: close,
    };
  },
};
