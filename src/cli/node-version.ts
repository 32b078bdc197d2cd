// Imported by main.ts before anything else: nothing may be imported here, and old versions of Node must understand it.

/** The oldest Node that can run this: the store's native part crashes older ones without a word. */
export const oldestNode = "22.18.0";

/** What is wrong with this version of Node; undefined if nothing. */
export const nodeProblem = (version: string): string | undefined => {
  const [major = 0, minor = 0] = version.split(".").map(Number);
  const [needMajor = 0, needMinor = 0] = oldestNode.split(".").map(Number);
  if (major > needMajor || (major === needMajor && minor >= needMinor)) return undefined;
  return `Squadron needs Node ${oldestNode} or newer, and this is Node ${version}. Install a newer one from https://nodejs.org (24 is the version that Squadron is developed on).`;
};
