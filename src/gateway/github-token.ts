import { Secret } from "../kernel/secret.ts";
import type { Connection } from "./vocabulary.ts";

/** The GitHub token that a call goes by: the one that it brings, else its key's, else the policy's. */
export const githubTokenOf = (
  connection: Connection,
  params: Readonly<Record<string, unknown>>,
): Secret | undefined => {
  const given = params.gitHubToken;
  return typeof given === "string" && given !== ""
    ? new Secret(given)
    : (connection.githubToken ?? connection.policy.githubToken);
};
