import { SquadronError } from "../kernel/errors.ts";

/** What the command's exit status says; documented in `--help` and docs/cli.md. */
export const exitCodes = {
  done: 0,
  failed: 1,
  usage: 2,
  unreachable: 3,
  refused: 4,
} as const;

export type ExitCode = (typeof exitCodes)[keyof typeof exitCodes];

export const exitCodesHelp = `
Exit codes:
  0  done
  1  it did not work; the message says why
  2  wrong use of the command line
  3  no node answers at the URL
  4  the node refused the key (missing, unknown, revoked or without the role)`;

/** The end of a command that did not do what was asked. The message is for people. */
export class CommandFailure extends Error {
  readonly exitCode: ExitCode;

  constructor(exitCode: ExitCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = "CommandFailure";
    this.exitCode = exitCode;
  }
}

const field = (error: object, name: string): unknown => Reflect.get(error, name);

/** What to tell people about an error, and the status to exit with. Errors that nobody foresaw keep their stack. */
export const explain = (error: unknown): { readonly message: string; readonly exitCode: ExitCode } => {
  if (error instanceof CommandFailure) return { message: error.message, exitCode: error.exitCode };
  const exitCode = exitCodes.failed;
  if (error instanceof SquadronError) return { message: error.message, exitCode };
  if (!(error instanceof Error)) return { message: String(error), exitCode };
  if (field(error, "code") === "EADDRINUSE") {
    const address = `${String(field(error, "address"))}:${String(field(error, "port"))}`;
    return {
      message: `${address} is taken by another program. Stop it, or choose another port with sdk.port and http.port (SQUADRON_SDK_PORT, SQUADRON_HTTP_PORT).`,
      exitCode,
    };
  }
  return { message: error.stack ?? error.message, exitCode };
};
