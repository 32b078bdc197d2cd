import { describe, expect, it } from "vitest";
import { CommandFailure, exitCodes, exitCodesHelp, explain } from "../../../src/cli/failure.ts";
import { SquadronError } from "../../../src/kernel/errors.ts";

describe("the end of a command that failed", () => {
  it("is the failure's own message and status", () => {
    const failure = new CommandFailure(exitCodes.unreachable, "Nobody there.");
    expect(explain(failure)).toEqual({ message: "Nobody there.", exitCode: 3 });
    expect(explain(new SquadronError("config_invalid", "Wrong."))).toEqual({
      message: "Wrong.",
      exitCode: 1,
    });
  });

  it("names the taken port instead of the system's code", () => {
    const error = Object.assign(new Error("listen EADDRINUSE"), {
      code: "EADDRINUSE",
      address: "127.0.0.1",
      port: 4321,
    });
    expect(explain(error).message).toMatch(/^127\.0\.0\.1:4321 is taken.*sdk\.port/);
  });

  it("keeps the stack of what nobody foresaw", () => {
    expect(explain(new TypeError("oops")).message).toMatch(/TypeError: oops\n +at /);
  });

  it("has every status in the help", () => {
    for (const code of Object.values(exitCodes))
      expect(exitCodesHelp).toMatch(new RegExp(`^ {2}${code} {2}\\w`, "m"));
  });
});
