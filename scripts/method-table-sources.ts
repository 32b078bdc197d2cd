import { existsSync, globSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { isObject } from "../src/kernel/json.ts";
import type { IdPositions, MethodScope } from "../src/wire/method-entry.ts";

/** A method as the schema describes it. */
export interface SchemaMethod {
  readonly scope: MethodScope;
  readonly params: readonly string[];
  readonly ids: IdPositions;
}

/** What the installed SDK has: names of methods, and of parameters where it writes them out. */
export interface SdkUse {
  readonly methods: ReadonlySet<string>;
  readonly params: ReadonlyMap<string, ReadonlySet<string>>;
}

export interface Sources {
  readonly schema: ReadonlyMap<string, SchemaMethod>;
  readonly sdk: SdkUse;
}

type Schema = Record<string, unknown>;

const sdkDirectory = (): string =>
  join(dirname(fileURLToPath(import.meta.resolve("@github/copilot-sdk"))), "..");

/** The schema of whichever platform package of the SDK is installed; all platforms carry the same one. */
const schemaFile = (): string => {
  const manifest: { optionalDependencies?: Record<string, string> } = JSON.parse(
    readFileSync(join(sdkDirectory(), "package.json"), "utf8"),
  );
  const require = createRequire(join(sdkDirectory(), "package.json"));
  for (const name of Object.keys(manifest.optionalDependencies ?? {})) {
    for (const folder of require.resolve.paths(name) ?? []) {
      const file = join(folder, name, "schemas", "api.schema.json");
      if (existsSync(file)) return file;
    }
  }
  throw new Error("No platform package of @github/copilot-sdk is installed, so there is no api.schema.json.");
};

/** Reads the installed schema and SDK. Throws when there is none or when it cannot be understood. */
export const readSources = (spreadCalls: Readonly<Record<string, readonly string[]>>): Sources => {
  const schema: Schema = JSON.parse(readFileSync(schemaFile(), "utf8"));
  const dist = join(sdkDirectory(), "dist");
  const files = globSync(["*.js", "generated/*.js"], { cwd: dist }).map((file) =>
    readFileSync(join(dist, file), "utf8"),
  );
  return { schema: schemaMethods(schema), sdk: sdkUse(files, spreadCalls) };
};

/** Every method of a schema document. */
export const schemaMethods = (schema: Schema): ReadonlyMap<string, SchemaMethod> => {
  const definitions = isObject(schema.definitions) ? schema.definitions : {};
  const methods = new Map<string, SchemaMethod>();
  const collect = (node: unknown, scope: MethodScope) => {
    if (!isObject(node)) return;
    const method = node.rpcMethod;
    if (typeof method === "string") {
      methods.set(method, {
        scope: node.notification === true ? "notification" : scope,
        params: [...propertiesOf(node.params, definitions).keys()],
        ids: {
          params: positions(node.params, definitions).ids,
          result: positions(node.result, definitions).ids,
          events: positions(node.result, definitions).events,
        },
      });
      return;
    }
    for (const child of Object.values(node)) collect(child, scope);
  };
  collect(schema.server, "global");
  collect(schema.session, "session");
  collect(schema.clientSession, "callback");
  collect(schema.clientGlobal, "callback");
  return methods;
};

const referenced = (node: Record<string, unknown>): string | undefined =>
  typeof node.$ref === "string" ? node.$ref.split("/").at(-1) : undefined;

/** The properties of an object type, of all alternatives together. */
const propertiesOf = (node: unknown, definitions: Schema): ReadonlyMap<string, unknown> => {
  const found = new Map<string, unknown>();
  if (!isObject(node)) return found;
  const name = referenced(node);
  if (name !== undefined) return propertiesOf(definitions[name], definitions);
  for (const key of ["anyOf", "oneOf", "allOf"]) {
    const alternatives = node[key];
    if (!Array.isArray(alternatives)) continue;
    for (const one of alternatives)
      for (const [property, type] of propertiesOf(one, definitions)) found.set(property, type);
  }
  if (isObject(node.properties))
    for (const [property, type] of Object.entries(node.properties)) found.set(property, type);
  return found;
};

const deepest = 6;
const isSessionId = (name: string): boolean => /(^s|S)essionIds?$/.test(name) && !/^remote/i.test(name);

/** Where in a type session ids stand, and lists of session events. */
const positions = (
  type: unknown,
  definitions: Schema,
): { readonly ids: string[]; readonly events: string[] } => {
  const ids = new Set<string>();
  const events = new Set<string>();
  const walk = (node: unknown, path: string, depth: number) => {
    if (!isObject(node) || depth > deepest) return;
    const name = referenced(node);
    if (name !== undefined && /^Session\w*Event$/.test(name)) events.add(path.replace(/\[\]$/, ""));
    else if (name !== undefined) walk(definitions[name], path, depth);
    if (name !== undefined) return;
    if (node.items !== undefined) walk(node.items, `${path}[]`, depth);
    for (const key of ["anyOf", "oneOf", "allOf"]) {
      const alternatives = node[key];
      if (Array.isArray(alternatives)) for (const one of alternatives) walk(one, path, depth);
    }
    for (const [property, child] of Object.entries(isObject(node.properties) ? node.properties : {})) {
      const at = path === "" ? property : `${path}.${property}`;
      if (isSessionId(property)) ids.add(property.endsWith("Ids") ? `${at}[]` : at);
      else walk(child, at, depth + 1);
    }
  };
  walk(type, "", 0);
  return { ids: [...ids], events: [...events] };
};

/** Methods and written-out parameters in the SDK's source files. */
export const sdkUse = (
  files: readonly string[],
  spreadCalls: Readonly<Record<string, readonly string[]>>,
): SdkUse => {
  const methods = new Set<string>();
  const params = new Map<string, Set<string>>();
  for (const text of files) {
    for (const call of text.matchAll(
      /\b(?:sendRequest|sendNotification|onRequest|onNotification)\(\s*"([^"]+)"(,\s*\{)?/g,
    )) {
      const [all, method, object] = call;
      if (method === undefined) continue;
      methods.add(method);
      if (object === undefined) continue;
      const names = params.get(method) ?? new Set<string>();
      for (const name of objectKeys(text, call.index + all.length, spreadCalls)) names.add(name);
      params.set(method, names);
    }
  }
  return { methods, params };
};

/**
 * The property names of the object literal whose brace stands just before `start`, spreads of conditional
 * literals and of known calls included. Throws for a spread that it cannot see through.
 */
const objectKeys = (
  text: string,
  start: number,
  spreadCalls: Readonly<Record<string, readonly string[]>>,
): string[] => {
  const keys: string[] = [];
  for (const member of members(text, start)) {
    if (!member.startsWith("...")) {
      const name = /^["']?([A-Za-z_$][\w$]*)/.exec(member)?.[1];
      if (name !== undefined) keys.push(name);
      continue;
    }
    const called = /^\.\.\.\s*(?:await\s+)?([A-Za-z_$][\w$]*)\(/.exec(member)?.[1];
    const known = called === undefined ? undefined : spreadCalls[called];
    const literals = [...member.matchAll(/\{\s*([A-Za-z_$][\w$]*)\s*[:}]/g)].map((match) => match[1] ?? "");
    if (known === undefined && literals.length === 0 && member !== "...params") {
      throw new Error(
        `The SDK spreads "${member.slice(0, 60)}" into parameters: name its keys in spreadCalls.`,
      );
    }
    keys.push(...(known ?? literals));
  }
  return keys;
};

/** The comma-separated members of an object literal, trimmed. */
const members = (text: string, start: number): string[] => {
  const found: string[] = [];
  let depth = 1;
  let from = start;
  for (let i = start; i < text.length; i++) {
    const char = text.charAt(i);
    if (char === '"' || char === "'" || char === "`") {
      for (i++; i < text.length && text.charAt(i) !== char; i++) if (text.charAt(i) === "\\") i++;
    } else if ("{[(".includes(char)) depth++;
    else if ("}])".includes(char)) depth--;
    if (depth > 1 || (depth === 1 && char !== ",")) continue;
    found.push(text.slice(from, i).trim());
    from = i + 1;
    if (depth === 0) break;
  }
  return found.filter((member) => member !== "");
};
