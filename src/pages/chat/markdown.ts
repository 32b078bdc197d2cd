import { lexer, type Token, type Tokens } from "marked";

const entities: Readonly<Record<string, string>> = {
  amp: "&",
  lt: "<",
  gt: ">",
  quot: '"',
  apos: "'",
  nbsp: "\u00a0",
  hellip: "…",
  mdash: "—",
  ndash: "–",
  lsquo: "‘",
  rsquo: "’",
  ldquo: "“",
  rdquo: "”",
  copy: "©",
  times: "×",
  rarr: "→",
  larr: "←",
};

const ofCode = (code: number, otherwise: string): string =>
  code > 0 && code <= 0x10ffff && (code < 0xd800 || code > 0xdfff) ? String.fromCodePoint(code) : otherwise;

/** The text that is meant: Markdown may write characters as HTML does. */
export const unescaped = (source: string): string =>
  source.replaceAll(/&(?:#(\d{1,7})|#[xX]([\da-fA-F]{1,6})|([a-zA-Z]{2,8}));/g, (whole, dec, hex, name) => {
    if (dec !== undefined) return ofCode(Number(dec), whole);
    if (hex !== undefined) return ofCode(Number.parseInt(hex, 16), whole);
    return Object.hasOwn(entities, name) ? (entities[name] ?? whole) : whole;
  });

const harmless: ReadonlySet<string> = new Set(["http:", "https:", "mailto:"]);

/** The address if it leads to a page or a mailbox and to nothing else; what is relative has no meaning here. */
export const safeAddress = (address: string): string | undefined => {
  const text = unescaped(address).trim();
  if (!URL.canParse(text)) return undefined;
  const url = new URL(text);
  return harmless.has(url.protocol) ? url.href : undefined;
};

/** Longer texts are shown as they are. */
const longest = 200_000;

export interface Blocks {
  readonly tokens: readonly Token[];
  /** How many addresses the text gives names to, which may stand in any of its blocks. */
  readonly names: number;
}

/** What a message consists of. Nothing of it is HTML: tags that somebody writes are text like any other. */
export const blocksOf = (source: string): Blocks => {
  const plain: Blocks = { tokens: [{ type: "html", raw: source, text: source }], names: 0 };
  if (source.length > longest) return plain;
  try {
    const tokens = lexer(source, { gfm: true, breaks: true });
    return { tokens, names: Object.keys(tokens.links).length };
  } catch {
    // Nested more deeply than anybody can be read.
    return plain;
  }
};

export type { Token, Tokens };
