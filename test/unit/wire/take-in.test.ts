import { connect, createServer } from "node:net";
import { expect, it } from "vitest";
import { takeIn } from "../../../src/wire/take-in.ts";

it("takes in every client that has connected, so that the end of listening resets none", async () => {
  let taken = 0;
  const server = createServer((socket) => {
    taken++;
    socket.end("hello");
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  const port = typeof address === "object" ? address?.port : undefined;
  if (port === undefined) throw new Error("The server has no port.");
  const outcomes = Array.from({ length: 50 }, () => {
    const client = connect({ port, host: "127.0.0.1" });
    return new Promise<string>((resolve) => {
      client.once("error", (error) => resolve(String(error)));
      client.once("data", (text) => resolve(String(text)));
    });
  });
  await takeIn(server);
  server.close();
  expect(taken).toBe(50);
  expect(new Set(await Promise.all(outcomes))).toEqual(new Set(["hello"]));
});
