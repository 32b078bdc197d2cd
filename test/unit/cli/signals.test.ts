import { spawn } from "node:child_process";
import { describe, expect, it } from "vitest";
import { eventually, within } from "../../support/wait.ts";

const signals = new URL("../../../src/cli/signals.ts", import.meta.url).href;

/** A process that never ends by itself, and tells what it was asked and what it did. */
const program = `
  import { stopRequested } from ${JSON.stringify(signals)};
  stopRequested(() => console.log("cleaned")).then((name) => console.log("asked by " + name));
  process.on("SIGINT", () => console.log("got one at " + Math.round(performance.now())));
  setInterval(() => {}, 1000);
  console.log("ready");
`;

const start = async () => {
  const child = spawn(process.execPath, ["--input-type=module", "--eval", program], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  let output = "";
  child.stdout.setEncoding("utf8").on("data", (text: string) => {
    output += text;
  });
  const ended = new Promise<number | null>((resolve) => child.once("close", resolve));
  const printed = (text: string) =>
    eventually(() => output.includes(text), { what: `"${text}" in ${output}` });
  await printed("ready");
  return {
    child,
    ended,
    printed,
    output: () => output,
    async [Symbol.asyncDispose]() {
      child.kill("SIGKILL");
      await ended;
    },
  };
};

describe("signals to end", () => {
  it("are one request when they come together, and a second one ends the process at once", async () => {
    await using running = await start();
    running.child.kill("SIGINT");
    await running.printed("asked by SIGINT");
    const again = setInterval(() => running.child.kill("SIGINT"), 20);
    try {
      expect(await within(running.ended, { what: "the end of the process" })).toBe(130);
    } finally {
      clearInterval(again);
    }
    const output = running.output();
    expect(output).toContain("cleaned");
    expect(output.match(/asked/g)).toHaveLength(1);
    const times = [...output.matchAll(/got one at (\d+)/g)].map(([, at]) => Number(at));
    expect((times.at(-1) ?? 0) - (times[0] ?? 0)).toBeGreaterThan(400);
  });

  it("end a process by whichever of them comes", async () => {
    await using running = await start();
    running.child.kill("SIGTERM");
    await running.printed("asked by SIGTERM");
  });
});
