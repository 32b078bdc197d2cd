// biome-ignore-all lint/suspicious/noTemplateCurlyInString: that is what references look like
import { spawn } from "node:child_process";
import { readFile, stat } from "node:fs/promises";
import { resolve } from "node:path";
import { isObject } from "../kernel/json.ts";
import type { Path } from "./keys.ts";
import type { KeyProblem } from "./problems.ts";

const commandDeadlineMs = 10_000;
const maxBytes = 64 * 1024;

export interface ReferenceContext {
  readonly env: NodeJS.ProcessEnv;
  /** Directory of relative files, and of commands. */
  readonly base: string;
  readonly commandDeadlineMs?: number;
}

/** Why a reference has no value; said to the operator, so it holds no part of a value. */
class UnresolvedError extends Error {}

/**
 * Replaces `${env:NAME}`, `${file:/path}` and `${command:…}` in every text of a value. A file's or command's last line
 * end is dropped. Braces inside must be balanced. What cannot be replaced becomes a problem, and its text stays.
 */
export const resolveReferences = async (
  value: unknown,
  context: ReferenceContext,
): Promise<{ readonly value: unknown; readonly problems: readonly KeyProblem[] }> => {
  const problems: KeyProblem[] = [];
  const known = new Map<string, Promise<string>>();

  const lookUp = (source: string, argument: string): Promise<string> => {
    const key = `${source}:${argument}`;
    let found = known.get(key);
    if (found === undefined) {
      found = read(source, argument, context);
      known.set(key, found);
    }
    return found;
  };

  const replace = async (text: string): Promise<string> => {
    let result = "";
    let rest = text;
    for (;;) {
      const start = rest.indexOf("${");
      if (start < 0) return result + rest;
      const end = closingBrace(rest, start + 2);
      if (end === undefined) throw new UnresolvedError('a "${" is never closed');
      const [, source = "", argument = ""] = /^([a-z]*):(.*)$/s.exec(rest.slice(start + 2, end)) ?? [];
      result += rest.slice(0, start) + (await lookUp(source, argument));
      rest = rest.slice(end + 1);
    }
  };

  const walk = async (at: unknown, path: Path): Promise<unknown> => {
    if (typeof at === "string" && at.includes("${")) {
      try {
        return await replace(at);
      } catch (error) {
        if (!(error instanceof UnresolvedError)) throw error;
        problems.push({ path, message: error.message });
        return at;
      }
    }
    if (Array.isArray(at)) {
      const items: unknown[] = [];
      for (const [index, item] of at.entries()) items.push(await walk(item, [...path, index]));
      return items;
    }
    if (!isObject(at)) return at;
    const entries: [string, unknown][] = [];
    for (const [key, item] of Object.entries(at)) entries.push([key, await walk(item, [...path, key])]);
    return Object.fromEntries(entries);
  };

  return { value: await walk(value, []), problems };
};

const closingBrace = (text: string, from: number): number | undefined => {
  let depth = 1;
  for (let at = from; at < text.length; at++) {
    if (text[at] === "{") depth += 1;
    else if (text[at] === "}" && --depth === 0) return at;
  }
  return undefined;
};

const withoutLineEnd = (text: string): string => text.replace(/\r?\n$/, "");

const read = async (source: string, argument: string, context: ReferenceContext): Promise<string> => {
  switch (source) {
    case "env": {
      const value = context.env[argument];
      if (value === undefined) throw new UnresolvedError(`the environment variable ${argument} is not set`);
      return value;
    }
    case "file":
      return withoutLineEnd(await readSmallFile(resolve(context.base, argument)));
    case "command":
      return withoutLineEnd(await output(argument, context));
    default:
      throw new UnresolvedError("expected ${env:NAME}, ${file:/path} or ${command:…}");
  }
};

const readSmallFile = async (path: string): Promise<string> => {
  try {
    const { size } = await stat(path);
    if (size <= maxBytes) return await readFile(path, "utf8");
  } catch (error) {
    const code = error instanceof Error && "code" in error ? ` (${error.code})` : "";
    throw new UnresolvedError(`the file ${path} cannot be read${code}`);
  }
  throw new UnresolvedError(`the file ${path} is larger than ${maxBytes} bytes`);
};

const killGroup = (leader: number): void => {
  try {
    process.kill(-leader, "SIGKILL");
  } catch (error) {
    // Nothing of the group is left.
    if (!(error instanceof Error && "code" in error && error.code === "ESRCH")) throw error;
  }
};

/** Standard output of a shell command. Its process group is killed at the deadline and when it says too much. */
const output = (command: string, context: ReferenceContext): Promise<string> => {
  const deadlineMs = context.commandDeadlineMs ?? commandDeadlineMs;
  return new Promise((resolve, reject) => {
    const child = spawn("/bin/sh", ["-c", command], {
      cwd: context.base,
      env: context.env,
      stdio: ["ignore", "pipe", "ignore"],
      detached: true,
    });
    const chunks: Buffer[] = [];
    let bytes = 0;
    const finish = (problem?: string) => {
      clearTimeout(deadline);
      child.stdout.destroy();
      if (problem === undefined) resolve(Buffer.concat(chunks).toString("utf8"));
      else reject(new UnresolvedError(problem));
    };
    const kill = (problem: string) => {
      if (child.pid !== undefined) killGroup(child.pid);
      finish(problem);
    };
    const deadline = setTimeout(() => kill(`its command took longer than ${deadlineMs} ms`), deadlineMs);
    child.stdout.on("data", (chunk: Buffer) => {
      bytes += chunk.length;
      chunks.push(chunk);
      if (bytes > maxBytes) kill(`its command printed more than ${maxBytes} bytes`);
    });
    child.on("error", () => finish("its command could not be started"));
    child.on("close", (code) => finish(code === 0 ? undefined : `its command failed (exit code ${code})`));
  });
};
