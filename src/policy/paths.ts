import { isAbsolute, relative, resolve } from "node:path";

/**
 * Does an absolute path lie in one of the directories (or is one)? Compares names only: a symbolic link inside
 * an allowed directory leads wherever the operator lets it lead.
 */
export const liesWithin = (directories: readonly string[], path: string): boolean => {
  if (!isAbsolute(path) || path.includes("\0")) return false;
  return directories.some((directory) => {
    const way = relative(resolve(directory), resolve(path));
    return (
      way === "" || !(way === ".." || way.startsWith("../") || way.startsWith("..\\") || isAbsolute(way))
    );
  });
};

/** A slash-separated path that stays below where it starts, on every operating system. */
export const staysBelow = (path: string): boolean =>
  path !== "" &&
  !path.includes("\0") &&
  !/^([/\\]|[A-Za-z]:)/.test(path) &&
  !path.split(/[/\\]/).includes("..");
