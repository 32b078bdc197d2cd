import { sandboxAbilities } from "../../src/fleet/sandbox/host.ts";
import { installPackages } from "./debian.ts";

/** What this host lacks for boxes as they are meant to be: a user id, a network and limits of their own. */
const lacking = async (): Promise<string[]> => {
  const { bubblewrap, ownNetwork, ownUid, hiddenMemory, cgroups } = await sandboxAbilities();
  const problems = [bubblewrap, ownNetwork, ownUid, hiddenMemory, cgroups].flatMap(({ able, message }) =>
    able ? [] : [message],
  );
  return [...new Set(problems)];
};

/**
 * Tries whether this host can have boxes, and installs bubblewrap if not. Rejects if it still cannot: a test of boxes
 * that is left out proves nothing.
 */
export const needBoxes = async (): Promise<void> => {
  if ((await lacking()).length === 0) return;
  const problem = installPackages("bubblewrap", "util-linux");
  const problems = await lacking();
  if (problems.length > 0)
    throw new Error(
      `The tests of boxes need Linux, root, bubblewrap and cgroups. ${problems.join("; ")}${problem}`,
    );
};
