import { execFileSync } from "node:child_process";
import { fileURLToPath } from "node:url";

/** Before the tests: the pages are those of the present sources. A process of its own, since tests are no production. */
export const setup = (): void => {
  const script = fileURLToPath(new URL("../scripts/build-pages.ts", import.meta.url));
  execFileSync(process.execPath, [script, "--if-needed"], { stdio: "inherit" });
};
