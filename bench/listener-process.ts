/** Listeners of one session in a process of their own: many sockets, each event timed as it comes. */
import { connect, type Socket } from "node:net";
import { CopilotClient, RuntimeConnection } from "@github/copilot-sdk";
import { eventually } from "../test/support/wait.ts";
import type { Audience, Heard, ListenerAnswer, ListenerCommand } from "./listener-control.ts";
import { percentile } from "./statistics.ts";

/** The clock of the events' timestamps, with fractions of a millisecond. */
const now = (): number => performance.timeOrigin + performance.now();

let delays: number[] = [];
/** Each listener's deltas and ends of turns, since they were asked for last. */
let counts: { deltas: number; ends: number }[] = [];
let closers: (() => Promise<void>)[] = [];

const deltaType = "assistant.message_delta";
const timestamp = /"timestamp":"([^"]+)"/;

const take = (at: number, count: { deltas: number }, time: string | undefined): void => {
  count.deltas++;
  if (time !== undefined) delays.push(at - Date.parse(time));
};

/** A client that looks for the ends of events and does nothing else with them. Chunks of HTTP end where events do. */
const openSse = (audience: Audience & { readonly kind: "sse" }, index: number): Promise<void> => {
  const count = { deltas: 0, ends: 0 };
  counts.push(count);
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const socket: Socket = connect(audience.port, "127.0.0.1");
  socket.setEncoding("utf8");
  socket.once("error", reject);
  const key = audience.keys[index % audience.keys.length] ?? "";
  socket.write(
    `GET ${audience.path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer ${key}\r\nAccept: text/event-stream\r\n\r\n`,
  );
  let rest = "";
  socket.on("data", (text: string) => {
    const at = now();
    const events = (rest + text).split("\n\n");
    rest = events.pop() ?? "";
    for (const event of events) {
      if (event.includes(`event: ${deltaType}`)) take(at, count, timestamp.exec(event)?.[1]);
      else if (event.includes("event: turn.completed")) count.ends++;
      else if (event.includes("event: stream.opened")) resolve();
    }
  });
  closers.push(async () => void socket.destroy());
  return promise;
};

const openSdk = async (audience: Audience & { readonly kind: "sdk" }): Promise<void> => {
  const count = { deltas: 0, ends: 0 };
  counts.push(count);
  const connection = RuntimeConnection.forUri(`127.0.0.1:${audience.port}`, {
    connectionToken: audience.token,
  });
  const client = new CopilotClient({ mode: "empty", connection });
  closers.push(async () => void (await client.forceStop()));
  const session = await client.resumeSession(audience.sessionId, audience.config);
  session.on((event) => {
    if (event.type === deltaType) take(now(), count, event.timestamp);
    else if (event.type === "session.idle") count.ends++;
  });
};

const open = async (audience: Audience): Promise<void> => {
  for (let index = 0; index < audience.count; index++)
    await (audience.kind === "sse" ? openSse(audience, index) : openSdk(audience));
};

const heard = async (deltas: number): Promise<Heard> => {
  await eventually(() => counts.every(({ ends }) => ends > 0), {
    what: "all heard the end",
    deadlineMs: 50_000,
  });
  const delivered = counts.reduce((sum, count) => sum + count.deltas, 0);
  if (delivered !== deltas * counts.length)
    throw new Error(`${counts.length} listeners got ${delivered} deltas instead of ${deltas} each.`);
  const result = { p50: percentile(delays, 0.5), p99: percentile(delays, 0.99), delivered };
  delays = [];
  for (const count of counts) Object.assign(count, { deltas: 0, ends: 0 });
  return result;
};

const close = async (): Promise<void> => {
  const all = closers;
  [closers, counts, delays] = [[], [], []];
  await Promise.all(all.map((end) => end()));
};

const obey = async (command: ListenerCommand): Promise<ListenerAnswer> => {
  switch (command.kind) {
    case "open":
      await open(command.audience);
      return {};
    case "heard":
      return { heard: await heard(command.deltas) };
    case "close":
      await close();
      return {};
  }
};

process.on("message", (command: ListenerCommand) => {
  obey(command).then(
    (answer) => process.send?.(answer),
    (error: unknown) => process.send?.({ error: error instanceof Error ? error.message : String(error) }),
  );
});
process.once("disconnect", () => process.exit());
