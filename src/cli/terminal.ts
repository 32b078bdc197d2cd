import { styleText } from "node:util";
import Table from "cli-table3";

/** A line of the command's result, on standard output. */
export const print = (text: string): void => {
  process.stdout.write(`${text}\n`);
};

/** The command's result for scripts. */
export const printJson = (value: unknown): void => print(JSON.stringify(value, null, 2));

/** A line beside the result, on standard error. */
export const note = (text: string): void => {
  process.stderr.write(`${text}\n`);
};

export type Style = "bold" | "dim" | "green" | "yellow" | "red" | "cyan";

/** Text in a style, where standard output is a terminal and NO_COLOR is not set. */
export const styled = (style: Style, text: string): string =>
  styleText(style, text, { stream: process.stdout });

// A name or a title of a client's choosing must not steer the terminal.
const controls = /[\p{Cc}\p{Zl}\p{Zp}\u202a-\u202e\u2066-\u2069]/gu;

/** Foreign text without what could move the cursor, colour or reorder the terminal's lines. */
export const plain = (text: string): string => text.replaceAll(controls, "�");

const borderless = {
  top: "",
  "top-mid": "",
  "top-left": "",
  "top-right": "",
  bottom: "",
  "bottom-mid": "",
  "bottom-left": "",
  "bottom-right": "",
  left: "",
  "left-mid": "",
  mid: "",
  "mid-mid": "",
  right: "",
  "right-mid": "",
  middle: "  ",
};

/** Rows below bold headings, without lines between them. */
export const table = (headings: readonly string[], rows: readonly (readonly string[])[]): string => {
  const made = new Table({
    head: headings.map((heading) => styled("bold", heading)),
    chars: borderless,
    style: { head: [], border: [], "padding-left": 0, "padding-right": 0 },
  });
  made.push(...rows.map((row) => [...row]));
  return made
    .toString()
    .split("\n")
    .map((line) => line.trimEnd())
    .join("\n");
};

/** `57.3 KiB` and the like. */
export const readableBytes = (bytes: number): string => {
  const power = Math.min(4, Math.floor(Math.log2(Math.max(1, bytes)) / 10));
  return power === 0
    ? `${bytes} B`
    : `${(bytes / 2 ** (10 * power)).toFixed(1)} ${["KiB", "MiB", "GiB", "TiB"][power - 1]}`;
};

/** `3 min ago` and the like, for an ISO time; `never` for none. */
export const ago = (at: string | null, now = Date.now()): string => {
  if (at === null) return "never";
  const seconds = Math.max(0, Math.round((now - Date.parse(at)) / 1000));
  const [unit, size] =
    seconds < 120
      ? ["s", 1]
      : seconds < 7_200
        ? ["min", 60]
        : seconds < 172_800
          ? ["h", 3_600]
          : ["d", 86_400];
  return `${Math.floor(seconds / Number(size))} ${unit} ago`;
};
