import { join } from "node:path";
import { createMemoryTable } from "../../src/coordination/memory-table.ts";
import { openStore } from "../../src/store/open-store.ts";
import type { Store } from "../../src/store/store.ts";
import { tempDir } from "../support/temp.ts";
import { coordinationContract } from "./coordination-contract.ts";

coordinationContract("in the memory of a process", async () => {
  const table = createMemoryTable();
  return { table: async () => table, [Symbol.asyncDispose]: async () => undefined };
});

coordinationContract("in the embedded store, each node with a connection of its own", async () => {
  const directory = await tempDir("leases");
  const stores: Store[] = [];
  return {
    async table() {
      const store = await openStore(`sqlite:${join(directory.path, "squadron.db")}`);
      stores.push(store);
      return store.leases;
    },
    async [Symbol.asyncDispose]() {
      for (const store of stores) await store.close();
      await directory.remove();
    },
  };
});
