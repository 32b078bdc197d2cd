import { withValues } from "../../src/gateway/ids.ts";
import type { MethodEntry } from "../../src/wire/method-table.ts";
import { dangerousValue } from "./dangerous.ts";
import type { RawAnswer, RawClient } from "./raw-client.ts";

/** Methods that somebody might think of and no schema has. */
const inventedMethods = [
  "session.read",
  "sessions.get",
  "runtime.exec",
  "shell.exec",
  "constructor",
  "__proto__",
  "",
  "toString",
  "rpc.discover",
];

export interface Call {
  readonly method: string;
  readonly params: Record<string, unknown>;
}

/** The same as rows of the table. */
export const invented: readonly Pick<MethodEntry, "method" | "params" | "ids">[] = inventedMethods.map(
  (method) => ({
    method,
    params: {},
    ids: { params: ["sessionId"], result: [], events: [] },
  }),
);

/** Every way in which one method can be pointed at this session: bare, with each parameter alone, with all. */
export const callsOf = (
  { method, params, ids }: Pick<MethodEntry, "method" | "params" | "ids">,
  id: string,
  file: string,
): Call[] => {
  let bare: Record<string, unknown> = { sessionId: id };
  for (const path of ids.params) {
    const key = path.split(/[.[]/)[0] ?? path;
    bare = withValues({ ...bare, [key]: dangerousValue(key, file, id) }, path, () => id) as Record<
      string,
      unknown
    >;
  }
  const names = Object.keys(params).filter((name) => name !== "sessionId");
  const alone = names.map((name) => ({ ...bare, [name]: dangerousValue(name, file, id) }));
  const all = Object.fromEntries(names.map((name) => [name, dangerousValue(name, file, id)]));
  return [bare, ...alone, { ...all, ...bare }, {}].map((given) => ({ method, params: given }));
};

/** Calls many at a time; the answers stand where their calls stood. */
export const callAll = async (
  client: RawClient,
  calls: readonly Call[],
  deadlineMs = 20_000,
): Promise<RawAnswer[]> => {
  const answers: RawAnswer[] = [];
  const atOnce = 200;
  for (let at = 0; at < calls.length; at += atOnce) {
    const some = calls.slice(at, at + atOnce);
    answers.push(
      ...(await Promise.all(some.map(({ method, params }) => client.call(method, params, deadlineMs)))),
    );
  }
  return answers;
};
