import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { createServer, request as httpRequest, type IncomingMessage, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { text } from "node:stream/consumers";
import { afterAll, beforeAll, expect, it } from "vitest";
import { httpOf } from "../support/http-client.ts";
import { type TempDir, tempDir } from "../support/temp.ts";
import { startTestNode, type TestNode } from "../support/test-node.ts";
import { eventually } from "../support/wait.ts";

interface Seen {
  readonly type: string;
  readonly id: string;
  readonly data: Record<string, unknown>;
}

const types = [
  "stream.opened",
  "stream.rewind",
  "stream.closed",
  "session.start",
  "user.message",
  "assistant.turn_start",
  "assistant.message_delta",
  "assistant.message",
  "assistant.turn_end",
];

/** An `EventSource` and nothing else, which reports what it gets in order. */
const page = (stream: string): string => `<!doctype html><script>
let last = Promise.resolve();
const report = (what) => {
  last = last.then(() => fetch("/seen", { method: "POST", body: JSON.stringify(what) }));
};
const source = new EventSource(${JSON.stringify(stream)});
for (const type of ${JSON.stringify(types)})
  source.addEventListener(type, (e) => report({ type, id: e.lastEventId, data: JSON.parse(e.data) }));
</script>`;

let squadron: TestNode;
let directory: TempDir;
let site: Server;
let browser: ChildProcess | undefined;
let stream = "";
const seen: Seen[] = [];
const streams = new Set<IncomingMessage>();

/** The page's own server, with the API behind it on the same origin, as a site would have it. */
const startSite = async (): Promise<string> => {
  site = createServer(async (request, response) => {
    if (request.url === "/seen") {
      seen.push(JSON.parse(await text(request)) as Seen);
      response.end();
    } else if (request.url?.startsWith("/v1/") === true) {
      const upstream = httpRequest(`${squadron.baseUrl}${request.url}`, { headers: request.headers });
      upstream.once("response", (answer) => {
        streams.add(answer);
        response.writeHead(answer.statusCode ?? 502, answer.headers);
        answer.pipe(response);
        answer.once("close", () => {
          streams.delete(answer);
          response.destroy();
        });
        response.once("close", () => answer.destroy());
      });
      upstream.once("error", () => response.destroy());
      upstream.end();
    } else response.setHeader("content-type", "text/html").end(page(stream));
  });
  site.listen(0, "127.0.0.1");
  await once(site, "listening");
  return `http://127.0.0.1:${(site.address() as AddressInfo).port}/`;
};

beforeAll(async () => {
  squadron = await startTestNode({ isolation: "shared" });
  directory = await tempDir("browser");
});
afterAll(async () => {
  if (browser !== undefined && browser.exitCode === null) {
    browser.kill("SIGKILL");
    await once(browser, "close");
  }
  site?.closeAllConnections();
  site?.close();
  await squadron?.stop();
  await directory?.remove();
});

it("a browser's EventSource with a ticket goes on by itself when it was cut, and has the whole history", async () => {
  const http = httpOf(squadron);
  const id = String((await http.call("alice", "POST", "/v1/sessions", {})).body.id);
  const say = async (prompt: string): Promise<void> => {
    expect((await http.call("alice", "POST", `/v1/sessions/${id}/messages`, { prompt })).status).toBe(200);
  };
  await say("[[echo before]]");
  const ticket = (await http.call("alice", "POST", `/v1/sessions/${id}/events/ticket`, {})).body;
  stream = `${ticket.url}&lastEventId=start`;
  const url = await startSite();
  browser = spawn(
    "chromium",
    ["--headless=new", "--no-sandbox", "--disable-gpu", `--user-data-dir=${directory.path}`, url],
    { stdio: "ignore", env: { PATH: process.env.PATH, HOME: directory.path } },
  );
  let failure: Error | undefined;
  browser.once("error", (error) => {
    failure = new Error("This test needs chromium (Debian's package) on the path.", { cause: error });
  });
  const opened = (): number => seen.filter(({ type }) => type === "stream.opened").length;
  await eventually(() => opened() === 1 || failure !== undefined, {
    what: "the stream in the browser",
    deadlineMs: 30_000,
  });
  if (failure !== undefined) throw failure;
  const saying = say("[[delay 5]] [[tokens 60]]");
  await eventually(() => seen.filter(({ type }) => type === "assistant.message_delta").length > 5, {
    what: "deltas",
  });
  for (const one of streams) one.destroy();
  await saying;
  await say("[[echo while it was away]]");
  await eventually(() => opened() >= 2, { what: "the browser has come back" });
  await say("[[echo after]]");
  const { body } = await http.call("alice", "GET", `/v1/sessions/${id}/messages?view=events&limit=500`);
  const history = (body.events as readonly Record<string, unknown>[]).filter(
    ({ type, ephemeral }) => ephemeral !== true && type !== "system.message",
  );
  const joined = () => seen.filter(({ data }) => data.id !== undefined && data.ephemeral !== true);
  await eventually(() => joined().length >= history.length, { what: "the whole history in the browser" });
  expect(joined().map(({ data }) => data.id)).toEqual(history.map(({ id: event }) => event));
  expect(new Set(history.map(({ type }) => String(type)))).toEqual(
    new Set(types.filter((type) => !type.startsWith("stream.") && type !== "assistant.message_delta")),
  );
  expect(seen.every(({ id: place }) => place !== "")).toBe(true);
  const deltas = seen.filter(({ type }) => type === "assistant.message_delta").map(({ id: place }) => place);
  expect(new Set(deltas).size).toBe(deltas.length);
});
