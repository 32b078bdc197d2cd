import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { readFileSync, writeFileSync } from "node:fs";
import http from "node:http";
import https from "node:https";
import net, { type AddressInfo, type Socket } from "node:net";
import { join } from "node:path";
import type { Duplex } from "node:stream";
import { promisify } from "node:util";

/** A request that a provider got. */
export interface Seen {
  readonly url: string;
  readonly headers: http.IncomingHttpHeaders;
  readonly body: string;
  /** Source port: tells connections apart. */
  readonly port: number;
  closed: boolean;
}

export interface Provider extends AsyncDisposable {
  readonly url: string;
  readonly port: number;
  readonly seen: Seen[];
  readonly server: http.Server;
}

type Handler = (seen: Seen, response: http.ServerResponse) => void | Promise<void>;

const listen = async (server: net.Server): Promise<number> => {
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return (server.address() as AddressInfo).port;
};

/** A model provider on loopback. With `tls` it speaks HTTPS. */
export const startProvider = async (
  handler: Handler,
  tls?: { readonly key: string; readonly cert: string },
): Promise<Provider> => {
  const seen: Seen[] = [];
  const listener: http.RequestListener = async (request, response) => {
    let body = "";
    for await (const part of request.setEncoding("utf8")) body += part;
    const entry: Seen = {
      url: request.url ?? "",
      headers: request.headers,
      body,
      port: request.socket.remotePort ?? 0,
      closed: false,
    };
    seen.push(entry);
    response.on("close", () => {
      entry.closed = !response.writableFinished;
    });
    await handler(entry, response);
  };
  const server = tls === undefined ? http.createServer(listener) : https.createServer(tls, listener);
  const port = await listen(server);
  const scheme = tls === undefined ? "http" : "https";
  return {
    url: `${scheme}://${tls === undefined ? "127.0.0.1" : "localhost"}:${port}`,
    port,
    seen,
    server,
    [Symbol.asyncDispose]: async () => {
      const closed = promisify(server.close.bind(server))();
      server.closeAllConnections();
      await closed;
    },
  };
};

/** Answers with a stream of server-sent events. */
export const sse = (response: http.ServerResponse, events: readonly unknown[]) => {
  response.writeHead(200, {
    "content-type": "text/event-stream",
    "x-request-id": "r1",
    "openai-organization": "org-x",
  });
  for (const event of events) response.write(`data: ${JSON.stringify(event)}\n\n`);
  response.end("data: [DONE]\n\n");
};

/** A certificate authority and a certificate for `localhost` that it signed, made in `directory`. */
export const makeCertificates = (directory: string): { caFile: string; key: string; cert: string } => {
  const path = (name: string) => join(directory, name);
  const openssl = (...args: string[]) => execFileSync("openssl", args, { stdio: "pipe" });
  const ca = ["-keyout", path("ca.key"), "-out", path("ca.pem"), "-subj", "/CN=Squadron test authority"];
  openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", ...ca);
  openssl(
    "req",
    "-newkey",
    "rsa:2048",
    "-nodes",
    "-keyout",
    path("s.key"),
    "-out",
    path("s.csr"),
    "-subj",
    "/CN=localhost",
  );
  writeFileSync(path("s.ext"), "subjectAltName=DNS:localhost,IP:127.0.0.1\n");
  const sign = [
    "-CA",
    path("ca.pem"),
    "-CAkey",
    path("ca.key"),
    "-CAcreateserial",
    "-extfile",
    path("s.ext"),
  ];
  openssl("x509", "-req", "-in", path("s.csr"), "-days", "2", "-out", path("s.pem"), ...sign);
  return {
    caFile: path("ca.pem"),
    key: readFileSync(path("s.key"), "utf8"),
    cert: readFileSync(path("s.pem"), "utf8"),
  };
};

/** A proxy that tunnels CONNECT to wherever it is asked. */
export const startConnectProxy = async () => {
  const targets: string[] = [];
  const sockets = new Set<Duplex>();
  const server = http.createServer((_, response) => response.writeHead(405).end());
  server.on("connect", (request, client: Duplex, head: Buffer) => {
    targets.push(request.url ?? "");
    const [host, port] = (request.url ?? "").split(":");
    const upstream = net.connect(Number(port), host);
    for (const socket of [client, upstream]) {
      sockets.add(socket);
      socket.on("error", () => undefined).on("close", () => sockets.delete(socket));
    }
    upstream.on("connect", () => {
      client.write("HTTP/1.1 200 OK\r\n\r\n");
      upstream.write(head);
      client.pipe(upstream).pipe(client);
    });
  });
  const port = await listen(server);
  return {
    url: `http://127.0.0.1:${port}`,
    targets,
    [Symbol.asyncDispose]: async () => {
      for (const socket of sockets) socket.destroy();
      const closed = promisify(server.close.bind(server))();
      server.closeAllConnections();
      await closed;
    },
  };
};

export interface WsClient {
  readonly headers: http.IncomingHttpHeaders;
  send(text: string): void;
  sendBinary(bytes: Buffer): void;
  close(code: number): void;
  /** Cuts the connection without a word. */
  cut(): void;
  readonly received: string[];
  closedWith: number | undefined;
}

const frame = (opcode: number, payload: Buffer): Buffer => {
  const length =
    payload.length < 126
      ? Buffer.from([payload.length])
      : payload.length < 65_536
        ? Buffer.from([126, payload.length >> 8, payload.length & 255])
        : Buffer.concat([
            Buffer.from([127, 0, 0, 0, 0]),
            Buffer.from(Uint32Array.of(payload.length).buffer).reverse(),
          ]);
  return Buffer.concat([Buffer.from([0x80 | opcode]), length, payload]);
};

/** The least of RFC 6455 that a provider's side needs: unfragmented frames, text, binary and close. */
export const startWsProvider = async (onMessage: (client: WsClient, text: string) => void) => {
  const clients: WsClient[] = [];
  const sockets = new Set<Socket>();
  const server = http.createServer((_, response) => response.writeHead(404).end());
  server.on("upgrade", (request: http.IncomingMessage, socket: Socket) => {
    sockets.add(socket);
    socket.on("error", () => undefined).on("close", () => sockets.delete(socket));
    const key = `${request.headers["sec-websocket-key"]}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`;
    const accept = createHash("sha1").update(key).digest("base64");
    socket.write(
      `HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ${accept}\r\n\r\n`,
    );
    const client: WsClient = {
      headers: request.headers,
      received: [],
      closedWith: undefined,
      send: (text) => socket.write(frame(1, Buffer.from(text))),
      sendBinary: (bytes) => socket.write(frame(2, bytes)),
      close: (code) => socket.end(frame(8, Buffer.from([code >> 8, code & 255]))),
      cut: () => socket.destroy(),
    };
    clients.push(client);
    let buffer = Buffer.alloc(0);
    socket.on("data", (data) => {
      buffer = Buffer.concat([buffer, data]);
      for (;;) {
        const [first = 0, second = 0] = buffer;
        const short = second & 127;
        const at = short === 126 ? 4 : short === 127 ? 10 : 2;
        if (buffer.length < at) return;
        const length =
          short === 126 ? buffer.readUInt16BE(2) : short === 127 ? buffer.readUInt32BE(6) : short;
        if (buffer.length < at + 4 + length) return;
        const mask = buffer.subarray(at, at + 4);
        const payload = Buffer.from(buffer.subarray(at + 4, at + 4 + length)).map(
          (byte, index) => byte ^ (mask[index % 4] ?? 0),
        );
        buffer = buffer.subarray(at + 4 + length);
        if ((first & 15) === 8) {
          client.closedWith = payload.length >= 2 ? Buffer.from(payload).readUInt16BE(0) : 1005;
          socket.end(frame(8, Buffer.from(payload)));
        } else {
          const text = Buffer.from(payload).toString("utf8");
          client.received.push(text);
          onMessage(client, text);
        }
      }
    });
  });
  const port = await listen(server);
  return {
    url: `http://127.0.0.1:${port}`,
    clients,
    [Symbol.asyncDispose]: async () => {
      for (const socket of sockets) socket.destroy();
      const closed = promisify(server.close.bind(server))();
      server.closeAllConnections();
      await closed;
    },
  };
};

/** A port on loopback at which nobody listens. */
export const deadPort = async (): Promise<number> => {
  const server = net.createServer();
  const port = await listen(server);
  await promisify(server.close.bind(server))();
  return port;
};
