import type { Runtime } from "../fleet/fleet.ts";
import type { JsonObject } from "../kernel/json.ts";
import type { Envelope } from "../wire/envelope.ts";
import type { InOrder } from "./in-order.ts";
import { runtimeOf } from "./life.ts";
import type { SessionStay } from "./session-stay.ts";
import type { SessionUpstream } from "./session-upstream.ts";

/** Calls of one session's runtime, which wake the session if it sleeps and keep it awake while they are answered. */
export interface HostCalls {
  /** Calls and callbacks that are being answered. */
  readonly open: number;
  /** `before` is called when all waiting is over; if it throws, the runtime is not called. */
  call(method: string, params: Readonly<Record<string, unknown>>, before?: () => void): Promise<Envelope>;
  /** `call`, answered only when what it changed is stored. */
  change(method: string, params: Readonly<Record<string, unknown>>): Promise<Envelope>;
  /** Work that keeps the session awake until it is done. */
  counted<T>(work: () => Promise<T>): Promise<T>;
}

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
  ): Promise<{ readonly frame: Envelope; readonly runtime: Runtime }> =>
    counted(async () => {
      const { life } = upstream;
      const awake = life.kind === "live" && !life.runtime.gone && !stay.dropping;
      const runtime = awake ? life.runtime : await inOrder.run(() => stay.wake());
      stay.sleepLater();
      before?.();
      return { frame: await upstream.call(runtime, method, params), runtime };
    });

  return {
    get open() {
      return open;
    },
    counted,
    call: async (method, params, before) => (await callIn(method, params, before)).frame,
    change: (method, params) =>
      counted(async () => {
        const { frame, runtime } = await callIn(method, params);
        options.onAnswered(method);
        try {
          await upstream.held.foldCall(method, params as JsonObject, frame.result());
          await upstream.store(runtime);
        } catch (error) {
          if (runtimeOf(upstream.life) === runtime) options.onNotStored(error);
          throw error;
        }
        options.onChanged(method);
        return frame;
      }),
  };
};
