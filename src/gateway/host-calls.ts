import type { Runtime } from "../fleet/fleet.ts";
import { SquadronError } from "../kernel/errors.ts";
import type { JsonObject } from "../kernel/json.ts";
import type { Envelope } from "../wire/envelope.ts";
import type { InOrder } from "./in-order.ts";
import { type Life, runtimeOf } from "./life.ts";
import type { SessionStay } from "./session-stay.ts";
import type { SessionUpstream } from "./session-upstream.ts";

/** Calls of one session's runtime, which wake the session if it sleeps and keep it awake while they are answered. */
export interface HostCalls {
  /** Calls and callbacks that are being answered. */
  readonly open: number;
  /** `before` is called when all waiting is over; if it throws, the runtime is not called. */
  call(method: string, params: Readonly<Record<string, unknown>>, before?: () => void): Promise<Envelope>;
  /**
   * `call`, answered only when what it changed is stored. `fold` takes its answer into the record; otherwise the method
   * says how. If the session leaves its runtime before the answer, it has not happened: `runtime_gone`.
   */
  change(
    method: string,
    params: Readonly<Record<string, unknown>>,
    fold?: (result: unknown) => void | Promise<void>,
  ): Promise<Envelope>;
  /** Sets options; those that the session has just been opened with need not be set again. */
  setOptions(options: JsonObject): Promise<Envelope>;
  /** Resolves when the changes that have been sent are answered and stored, whoever waits for that. */
  changed(): Promise<void>;
  /** Work that keeps the session awake until it is done. */
  counted<T>(work: () => Promise<T>): Promise<T>;
}

/** One that is dying takes no call, a moment before its end is known: what is not given to it is run after the wake. */
const takesCalls = ({ gone, peer }: Runtime): boolean => !gone && peer.open;

const leftBefore = (): SquadronError =>
  new SquadronError("runtime_gone", "The session left its runtime before what it did was stored.");

export const createHostCalls = (options: {
  readonly upstream: SessionUpstream;
  readonly stay: SessionStay;
  readonly inOrder: InOrder;
  /** A call that may change something has been answered, and is not stored yet. */
  readonly onAnswered: (method: string) => void;
  /** What it changed is stored. */
  readonly onChanged: (method: string) => void;
  readonly onNotStored: (error: unknown) => void;
}): HostCalls => {
  const { upstream, stay, inOrder } = options;
  let open = 0;
  const changing = new Set<Promise<unknown>>();

  const counted = async <T>(work: () => Promise<T>): Promise<T> => {
    open++;
    stay.used();
    try {
      return await work();
    } finally {
      open--;
      stay.idleAgain();
    }
  };

  const callIn = (
    method: string,
    params: Readonly<Record<string, unknown>>,
    before?: () => void,
  ): Promise<{ readonly frame: Envelope; readonly runtime: Runtime; readonly life: Life }> =>
    counted(async () => {
      const { life } = upstream;
      const awake = life.kind === "live" && takesCalls(life.runtime) && !stay.dropping;
      const runtime = awake ? life.runtime : await inOrder.run(() => stay.wake());
      stay.sleepLater();
      before?.();
      const during = upstream.life;
      return { frame: await upstream.call(runtime, method, params), runtime, life: during };
    });

  const change: HostCalls["change"] = (
    method,
    params,
    fold = (result) => upstream.held.foldCall(method, params as JsonObject, result),
  ) => {
    const { promise: over, resolve } = Promise.withResolvers<void>();
    const work = async (): Promise<Envelope> => {
      const { frame, runtime, life } = await callIn(method, params, () => changing.add(over));
      options.onAnswered(method);
      try {
        // What it did there was thrown away, or what was thrown away did not have it yet.
        if (upstream.life !== life) throw leftBefore();
        await fold(frame.result());
        await upstream.store(runtime);
      } catch (error) {
        if (runtimeOf(upstream.life) === runtime) options.onNotStored(error);
        throw error;
      }
      options.onChanged(method);
      return frame;
    };
    return counted(work).finally(() => {
      changing.delete(over);
      resolve();
    });
  };

  return {
    get open() {
      return open;
    },
    counted,
    call: async (method, params, before) => (await callIn(method, params, before)).frame,
    change,
    setOptions: (changed) => {
      const fold = (): void => upstream.held.foldOptions(changed);
      const told = stay.dropping ? undefined : upstream.answerTo(changed);
      if (told === undefined) return change("session.options.update", changed, fold);
      return counted(async () => {
        fold();
        await upstream.held.save();
        return told;
      });
    },
    changed: async () => {
      await Promise.allSettled(changing);
    },
  };
};
