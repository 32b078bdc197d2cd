import type { Clock } from "../kernel/clock.ts";
import { SquadronError } from "../kernel/errors.ts";
import type { Envelope } from "./envelope.ts";
import { RpcError } from "./rpc-error.ts";

interface Pending {
  readonly method: string;
  resolve(frame: Envelope): void;
  reject(error: Error): void;
}

/** The requests that one side has sent and not yet seen answered. Their ids are whole numbers of ours. */
export interface PendingRequests {
  /** Calls `send` with a new id and waits for its response, the deadline, the signal, or the end. */
  add(
    method: string,
    options: { readonly timeoutMs?: number; readonly signal?: AbortSignal },
    send: (id: number) => void,
  ): Promise<Envelope>;
  /** Settles the request that the response belongs to; false when nobody waits for it. Throws `invalid_frame`. */
  settle(response: Envelope): boolean;
  /** From now on `add` rejects with `connection_closed`. */
  refuseNew(): void;
  /** Rejects all, and all to come, with `connection_closed`. */
  rejectAll(cause: Error | undefined): void;
}

export const createPendingRequests = (clock: Clock): PendingRequests => {
  const pending = new Map<number, Pending>();
  let lastId = 0;
  let refusing = false;

  const closedError = (method: string, cause?: Error): SquadronError =>
    new SquadronError("connection_closed", `The connection closed before ${method} was answered.`, { cause });

  return {
    add: (method, { timeoutMs, signal }, send) =>
      new Promise((resolve, reject) => {
        if (refusing) return reject(closedError(method));
        if (signal?.aborted) return reject(new SquadronError("cancelled", `${method} was cancelled.`));
        const id = ++lastId;
        const finish = () => {
          pending.delete(id);
          cancelTimer?.();
          signal?.removeEventListener("abort", cancelled);
        };
        const fail = (error: Error) => {
          finish();
          reject(error);
        };
        const cancelled = () => fail(new SquadronError("cancelled", `${method} was cancelled.`));
        const late = () =>
          fail(new SquadronError("timeout", `${method} was not answered within ${timeoutMs} ms.`));
        const cancelTimer = timeoutMs === undefined ? undefined : clock.after(timeoutMs, late);
        signal?.addEventListener("abort", cancelled, { once: true });
        pending.set(id, {
          method,
          resolve: (frame) => {
            finish();
            resolve(frame);
          },
          reject: fail,
        });
        try {
          send(id);
        } catch (error) {
          finish();
          reject(error);
        }
      }),
    settle: (response) => {
      const waiting = typeof response.id === "number" ? pending.get(response.id) : undefined;
      if (waiting === undefined) return false;
      const error = response.error();
      if (error === undefined) waiting.resolve(response);
      else waiting.reject(new RpcError(error));
      return true;
    },
    refuseNew: () => {
      refusing = true;
    },
    rejectAll: (cause) => {
      refusing = true;
      for (const waiting of [...pending.values()]) waiting.reject(closedError(waiting.method, cause));
    },
  };
};
