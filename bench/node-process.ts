/** A Squadron node in a process of its own, so that its costs can be told from the benchmark's. */
import { startNode } from "../src/node.ts";
import { testConfig } from "../test/support/test-node.ts";

const { BENCH_DIRECTORY: directory, BENCH_MODEL_URL: modelUrl } = process.env;
if (directory === undefined || modelUrl === undefined || process.send === undefined)
  throw new Error("This program is started by bench/contenders.ts.");

const node = await startNode(testConfig(directory, modelUrl));
process.once("disconnect", () => {
  node.close().then(
    () => process.exit(0),
    (error) => {
      console.error(error);
      process.exit(1);
    },
  );
});
process.send({ port: node.sdk.port });
