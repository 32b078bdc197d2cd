import { fork } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import { within } from "../test/support/wait.ts";
import { ended } from "./programs.ts";

/** Who listens to one session, and how. */
export type Audience =
  | {
      readonly kind: "sse";
      readonly port: number;
      readonly path: string;
      /** Of the users who listen, by turns. */
      readonly keys: readonly string[];
      readonly count: number;
    }
  | {
      readonly kind: "sdk";
      readonly port: number;
      readonly token: string;
      readonly sessionId: string;
      readonly config: object;
      readonly count: number;
    };

/** What the listeners got in the turn that has just ended. */
export interface Heard {
  /** From the time that the runtime gave the event until the listener had it, in milliseconds. */
  readonly p50: number;
  readonly p99: number;
  /** Events of an answer as it grows, over all listeners. */
  readonly delivered: number;
}

export type ListenerCommand =
  | { readonly kind: "open"; readonly audience: Audience }
  /** Waits until all have heard the end of the turn. */
  | { readonly kind: "heard"; readonly deltas: number }
  | { readonly kind: "close" };

export type ListenerAnswer = { readonly heard?: Heard } | { readonly error: string };

/** Listeners in a process of their own, so that what they cost is not taken for the node's. */
export interface Listeners {
  open(audience: Audience): Promise<void>;
  /** The turn has ended; each listener must have got so many deltas. */
  heard(deltas: number): Promise<Heard>;
  close(): Promise<void>;
}

/** Starts the listeners' process, which ends with `parts`. */
export const startListeners = async (parts: AsyncDisposableStack): Promise<Listeners> => {
  const child = fork(fileURLToPath(new URL("listener-process.ts", import.meta.url)));
  parts.defer(() => ended(child, () => child.disconnect()));
  await within(once(child, "spawn"), { what: "the listeners' process has started" });
  const ask = async (command: ListenerCommand): Promise<{ readonly heard?: Heard }> => {
    const answered = once(child, "message") as Promise<[ListenerAnswer]>;
    child.send(command);
    const [answer] = await within(answered, {
      what: `the listeners obey "${command.kind}"`,
      deadlineMs: 60_000,
    });
    if ("error" in answer) throw new Error(`The listeners could not obey "${command.kind}": ${answer.error}`);
    return answer;
  };
  return {
    open: (audience) => ask({ kind: "open", audience }).then(() => undefined),
    async heard(deltas) {
      const { heard } = await ask({ kind: "heard", deltas });
      if (heard === undefined) throw new Error("The listeners did not say what they heard.");
      return heard;
    },
    close: () => ask({ kind: "close" }).then(() => undefined),
  };
};
