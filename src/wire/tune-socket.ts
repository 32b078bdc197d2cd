import type { Socket } from "node:net";

const keepAliveAfterMs = 30_000;

/** Sends small frames at once (no Nagle) and notices a vanished other side by keep-alive probes. */
export const tuneSocket = (socket: Socket): void => {
  socket.setNoDelay(true);
  socket.setKeepAlive(true, keepAliveAfterMs);
};
