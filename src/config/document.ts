import { readFile, stat } from "node:fs/promises";
import { basename } from "node:path";
import { isAlias, isMap, isScalar, isSeq, LineCounter, parseDocument } from "yaml";
import { isObject } from "../kernel/json.ts";
import type { Path } from "./keys.ts";
import { configError, type Problem } from "./problems.ts";

const maxBytes = 4 * 2 ** 20;

/** A configuration file: what it says, and on which line it says it. */
export interface ConfigDocument {
  readonly name: string;
  readonly value: unknown;
  /** Syntax errors; then `value` is of no use. */
  readonly problems: readonly Problem[];
  /** Line of the key, or of the nearest section around it that is written. */
  lineOf(path: Path): number | undefined;
}

const readText = async (file: string): Promise<string> => {
  const where = file;
  try {
    if ((await stat(file)).size > maxBytes)
      throw configError([{ where, message: `is larger than ${maxBytes} bytes` }]);
    return await readFile(file, "utf8");
  } catch (error) {
    const code = error instanceof Error && "code" in error ? String(error.code) : "";
    if (code === "config_invalid") throw error;
    throw configError([{ where, message: `cannot be read (${code})` }]);
  }
};

/** The parser's message without the piece of the file that some quote at their end: it could be a secret. */
const unquoted = (message: string): string => message.replace(/: .*$/s, "");

/** Reads the file. Rejects with `config_invalid` if it cannot be read at all. */
export const readDocument = async (file: string): Promise<ConfigDocument> => {
  const name = basename(file);
  const lines = new LineCounter();
  const document = parseDocument(await readText(file), {
    lineCounter: lines,
    prettyErrors: false,
    merge: true,
  });
  const lineAt = (offset: number): number => lines.linePos(offset).line;
  const problems: Problem[] = [...document.errors, ...document.warnings].map(({ pos, message }) => ({
    where: `${name} line ${lineAt(pos[0])}`,
    message: unquoted(message),
  }));
  let value: unknown;
  try {
    if (problems.length === 0) value = document.toJS() ?? {};
  } catch (error) {
    problems.push({ where: name, message: unquoted(error instanceof Error ? error.message : "is no YAML") });
  }
  if (problems.length === 0 && !isObject(value)) {
    problems.push({ where: name, message: "expected keys and values, such as sdk: { port: 4321 }" });
  }

  return {
    name,
    problems,
    value,
    lineOf(path) {
      let node: unknown = document.contents;
      let line: number | undefined;
      for (const step of path) {
        if (isAlias(node)) node = node.resolve(document);
        if (isMap(node)) {
          const pair = node.items.find(({ key }) => isScalar(key) && String(key.value) === String(step));
          if (pair === undefined || !isScalar(pair.key)) break;
          if (pair.key.range) line = lineAt(pair.key.range[0]);
          node = pair.value;
        } else if (isSeq(node) && typeof step === "number") {
          const item: unknown = node.items[step];
          if ((isMap(item) || isScalar(item) || isSeq(item)) && item.range) line = lineAt(item.range[0]);
          node = item;
        } else break;
      }
      return line;
    },
  };
};
