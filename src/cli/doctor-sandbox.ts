import type { Config } from "../config/config.ts";
import { type Ability, requireSandbox, sandboxAbilities } from "../fleet/sandbox/host.ts";
import { SquadronError } from "../kernel/errors.ts";
import type { Finding } from "./finding.ts";

/** What this host can do for boxes: a failure if the configuration wants what it cannot, a warning where boxes are weaker. */
export async function* checkSandbox({ runtimes: { sandbox }, state }: Config): AsyncGenerator<Finding> {
  const abilities = await sandboxAbilities();
  const { bubblewrap, ownNetwork, ownUid, hiddenMemory, cgroups } = abilities;
  if (sandbox.kind === "none") {
    yield {
      name: "sandbox",
      state: "ok",
      message: `none is configured; ${bubblewrap.able ? "bubblewrap is possible here" : `bubblewrap is not possible here: ${bubblewrap.message}`}`,
    };
    return;
  }
  yield await required(sandbox, state.path, bubblewrap);
  if (sandbox.network === "none" && ownNetwork.able)
    yield weakness("box network", ownNetwork, "none: a box reaches nothing");
  yield weakness("box user", ownUid);
  yield weakness("box memory", hiddenMemory);
  yield weakness("box limits", cgroups);
}

const required = async (
  sandbox: Config["runtimes"]["sandbox"],
  statePath: string,
  bubblewrap: Ability,
): Promise<Finding> => {
  try {
    await requireSandbox(sandbox, statePath);
    return { name: "sandbox", state: "ok", message: bubblewrap.message };
  } catch (error) {
    if (!(error instanceof SquadronError) || error.code !== "config_invalid") throw error;
    return { name: "sandbox", state: "fail", message: error.message };
  }
};

const weakness = (name: string, { able, message }: Ability, good = message): Finding =>
  able ? { name, state: "ok", message: good } : { name, state: "warn", message };
