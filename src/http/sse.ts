import { Readable } from "node:stream";
import type { Clock } from "../kernel/clock.ts";

export const heartbeatEveryMs = 15_000;
/** A comment: clients pass it over, and what lies between them and us sees that the connection lives. */
export const heartbeat = ": heartbeat\n\n";
const maxQueuedBytes = 4 * 1024 * 1024;
/** How long a client may take to read what is left after the end. */
export const lingerMs = 10_000;

/** One event stream (text/event-stream). What is sent after its end is dropped. */
export interface EventStream {
  /** The response's body. */
  readonly body: Readable;
  /** `data` becomes one line of JSON. */
  send(event: string, data: unknown): void;
  /** Sends a last event and ends the stream. */
  end(event: string, data: unknown): void;
  /** Resolves when the response has ended, by us or by the client. */
  readonly closed: Promise<void>;
}

const format = (event: string, data: unknown): Buffer =>
  Buffer.from(`event: ${event.replaceAll(/[\r\n]/g, " ")}\ndata: ${JSON.stringify(data)}\n\n`);

/**
 * A stream with a heartbeat comment every 15 s of silence. A client that leaves more than 4 MiB unread is told so by
 * a last event `stream.closed` and cut; `onCut` is called at that moment.
 */
export const openEventStream = (options: {
  readonly clock: Clock;
  readonly onCut: () => void;
}): EventStream => {
  const { clock } = options;
  const { promise: closed, resolve: resolveClosed } = Promise.withResolvers<void>();
  const body = new Readable({ highWaterMark: maxQueuedBytes, read: () => undefined });
  let open = true;
  let cancelTimer = (): void => undefined;

  const beat = (): void => {
    cancelTimer();
    cancelTimer = clock.after(heartbeatEveryMs, () => {
      if (body.readableLength === 0) body.push(heartbeat);
      beat();
    });
  };

  const end = (last: Buffer): void => {
    if (!open) return;
    open = false;
    cancelTimer();
    body.push(last);
    body.push(null);
    cancelTimer = clock.after(lingerMs, () => body.destroy());
  };

  body.once("close", () => {
    open = false;
    cancelTimer();
    resolveClosed();
  });
  beat();

  return {
    body,
    closed,
    send(event, data) {
      if (!open) return;
      const frame = format(event, data);
      if (body.readableLength + frame.length > maxQueuedBytes) {
        end(
          format("stream.closed", {
            code: "slow_consumer",
            detail: `More than ${maxQueuedBytes} bytes were left unread.`,
          }),
        );
        options.onCut();
        return;
      }
      body.push(frame);
      beat();
    },
    end: (event, data) => end(format(event, data)),
  };
};
