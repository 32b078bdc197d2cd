import { once } from "node:events";
import { type AddressInfo, connect, createServer, type Socket } from "node:net";

/** A way to a node that can be cut: every connection ends, and the next one is let through again. */
export interface CuttableWay extends AsyncDisposable {
  readonly baseUrl: string;
  cut(): void;
  /** Leads to another node from now on. */
  lead(target: string): void;
}

export const cuttableWay = async (first: string): Promise<CuttableWay> => {
  let target = new URL(first);
  const open = new Set<Socket>();
  const server = createServer((near) => {
    const far = connect(Number(target.port), target.hostname);
    for (const [one, other] of [
      [near, far],
      [far, near],
    ] as const) {
      open.add(one);
      one.pipe(other);
      one.on("error", () => other.destroy());
      one.once("close", () => {
        open.delete(one);
        other.destroy();
      });
    }
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const cut = (): void => {
    for (const one of [...open]) one.destroy();
  };
  return {
    baseUrl: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    cut,
    lead(next) {
      target = new URL(next);
      cut();
    },
    async [Symbol.asyncDispose]() {
      const closed = once(server, "close");
      server.close();
      cut();
      await closed;
    },
  };
};
