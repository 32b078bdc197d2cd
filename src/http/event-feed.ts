import { Readable } from "node:stream";
import type { LogEntry } from "../gateway/event-log.ts";
import type { EventReader } from "../gateway/event-reader.ts";
import type { Clock } from "../kernel/clock.ts";
import { SquadronError } from "../kernel/errors.ts";
import { knownError } from "./problem.ts";
import { heartbeat, heartbeatEveryMs, lingerMs } from "./sse.ts";

/** When a client's program may come back after its stream has ended; browsers do so by themselves. */
const retryMs = 1_000;
/** Bytes made ready ahead of the client. */
const aheadBytes = 64 * 1_024;
/** A client that takes nothing for so many heartbeats is gone, or as good as gone. */
const maxStill = 4;

/** A client's way through a session's stream, as the body of a response. Events are taken only as the client takes them. */
export interface EventFeed {
  readonly body: Readable;
  /** There may be more to be read. */
  more(): void;
  /** Tells what has no place in the stream as soon as the client takes it; only the latest waits. `data` is JSON on one line. */
  aside(type: string, data: Buffer): void;
  /** Tells why the stream ends, and ends it. */
  end(reason: unknown): void;
  /** Resolves when the response has ended, by us or by the client. */
  readonly closed: Promise<void>;
}

/** An event's type and place hold no line end: both are checked words. */
const frame = ({ id, type, data }: LogEntry): Buffer =>
  Buffer.concat([
    Buffer.from(`id: ${id}\nevent: ${type.replaceAll(/[\r\n]/g, " ")}\ndata: `),
    data,
    Buffer.from("\n\n"),
  ]);

let latest: { readonly entry: LogEntry; readonly frame: Buffer } | undefined;

/** The same bytes for all who follow a session: they take an event one right after the other. */
const sharedFrame = (entry: LogEntry): Buffer => {
  if (latest?.entry !== entry) latest = { entry, frame: frame(entry) };
  return latest.frame;
};

const json = (value: unknown): Buffer => Buffer.from(JSON.stringify(value));

export const openEventFeed = (options: {
  readonly clock: Clock;
  readonly reader: Pick<EventReader, "begin" | "next">;
}): EventFeed => {
  const { clock, reader } = options;
  const { promise: closed, resolve: resolveClosed } = Promise.withResolvers<void>();
  let open = true;
  let wanted = true;
  let still = 0;
  let last = reader.begin;
  let waiting: Omit<LogEntry, "id"> | undefined;
  let cancelTimer = (): void => undefined;
  let toldAt = clock.monotonic();

  const body = new Readable({
    highWaterMark: aheadBytes,
    read() {
      wanted = true;
      still = 0;
      more();
    },
  });

  const push = (bytes: Buffer | string): void => {
    wanted = body.push(bytes);
  };

  const end = (reason: unknown): void => {
    if (!open) return;
    open = false;
    cancelTimer();
    const { code, message, details } = knownError(reason);
    push(frame({ id: last, type: "stream.closed", data: json({ code, detail: message, details }) }));
    body.push(null);
    cancelTimer = clock.after(lingerMs, () => body.destroy());
  };

  const beat = (): void => {
    if (wanted) push(heartbeat);
    else if (++still >= maxStill)
      end(new SquadronError("slow_consumer", "The client has left the stream unread for too long."));
    toldAt = clock.monotonic();
  };

  /** A timer for each silence, not for each event. */
  const watchSilence = (): void => {
    cancelTimer = clock.after(toldAt + heartbeatEveryMs - clock.monotonic(), () => {
      if (clock.monotonic() - toldAt >= heartbeatEveryMs) beat();
      if (open) watchSilence();
    });
  };

  const tell = (bytes: Buffer): void => {
    push(bytes);
    toldAt = clock.monotonic();
  };

  const more = (): void => {
    while (open && wanted) {
      if (waiting !== undefined) {
        const aside = waiting;
        waiting = undefined;
        tell(frame({ id: last, ...aside }));
        continue;
      }
      const found = reader.next();
      if (found.kind === "wait") return;
      if (found.kind === "end") {
        end(found.error);
        return;
      }
      last = found.entry.id;
      tell(sharedFrame(found.entry));
    }
  };

  body.once("close", () => {
    open = false;
    cancelTimer();
    resolveClosed();
  });
  push(`retry: ${retryMs}\n`);
  push(frame({ id: last, type: "stream.opened", data: json({ at: last }) }));
  watchSilence();

  return {
    body,
    closed,
    more,
    end,
    aside(type, data) {
      waiting = { type, data };
      more();
    },
  };
};
