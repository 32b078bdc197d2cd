import { once } from "node:events";
import { createServer } from "node:net";

/** Can this process listen there now? Rejects when the address itself is not usable (not ours, no right to the port). */
export const isFree = async (host: string, port: number): Promise<boolean> => {
  const server = createServer();
  try {
    const listening = once(server, "listening");
    server.listen(port, host);
    await listening;
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "EADDRINUSE") return false;
    throw error;
  }
  const closed = once(server, "close");
  server.close();
  await closed;
  return true;
};
