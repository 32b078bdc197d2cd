import { Component, Fragment, memo, type ReactNode, useMemo } from "react";
import { CodeBlock } from "./code-block.tsx";
import { blocksOf, safeAddress, type Token, type Tokens, unescaped } from "./markdown.ts";
import { texts } from "./texts.ts";

const Link = ({ address, children }: { readonly address: string; readonly children: ReactNode }) => {
  const safe = safeAddress(address);
  if (safe === undefined) return <span>{children}</span>;
  return (
    <a href={safe} target="_blank" rel="noopener noreferrer nofollow" title={safe}>
      {children}
    </a>
  );
};

/** Elements in the order of their tokens; their keys are their places, which only grow while a text streams. */
const each = (tokens: readonly Token[] | undefined, show: (token: Token) => ReactNode): ReactNode =>
  tokens?.map((token, place) => (
    // biome-ignore lint/suspicious/noArrayIndexKey: a token has no other name than its place
    <Fragment key={place}>{show(token)}</Fragment>
  ));

const inline = (token: Token): ReactNode => {
  switch (token.type) {
    case "strong":
      return <strong>{each(token.tokens, inline)}</strong>;
    case "em":
      return <em>{each(token.tokens, inline)}</em>;
    case "del":
      return <del>{each(token.tokens, inline)}</del>;
    case "codespan":
      return <code>{token.text as string}</code>;
    case "br":
      return <br />;
    case "link":
      return <Link address={token.href as string}>{each(token.tokens, inline)}</Link>;
    case "image":
      return <Link address={token.href as string}>{texts.image(unescaped(token.text as string))}</Link>;
    case "escape":
      return token.text as string;
    case "text":
      return token.tokens === undefined ? unescaped(token.text as string) : each(token.tokens, inline);
    default:
      // Tags above all.
      return token.raw;
  }
};

const ListView = ({ items, ordered, start }: Tokens.List) => {
  const entries = items.map((item, place) => (
    // biome-ignore lint/suspicious/noArrayIndexKey: an entry has no other name than its place
    <li key={place} className={item.task ? "task" : undefined}>
      {item.task && <span aria-hidden="true">{item.checked ? "☑ " : "☐ "}</span>}
      {each(item.tokens, block)}
    </li>
  ));
  return ordered ? <ol start={start === "" ? 1 : start}>{entries}</ol> : <ul>{entries}</ul>;
};

const TableView = ({ header, rows }: Tokens.Table) => (
  // biome-ignore lint/a11y/noNoninteractiveTabindex: a wide table is scrolled with the keyboard too
  <div className="table" tabIndex={0}>
    <table>
      <thead>
        <tr>
          {header.map((cell, place) => (
            // biome-ignore lint/suspicious/noArrayIndexKey: columns have only their places
            <th key={place} scope="col">
              {each(cell.tokens, inline)}
            </th>
          ))}
        </tr>
      </thead>
      <tbody>
        {rows.map((row, line) => (
          // biome-ignore lint/suspicious/noArrayIndexKey: rows have only their places
          <tr key={line}>
            {row.map((cell, place) => (
              // biome-ignore lint/suspicious/noArrayIndexKey: columns have only their places
              <td key={place}>{each(cell.tokens, inline)}</td>
            ))}
          </tr>
        ))}
      </tbody>
    </table>
  </div>
);

/** Headings of a message are below those of the page. */
const headings = ["h2", "h2", "h3", "h4", "h5", "h6"] as const;

const block = (token: Token): ReactNode => {
  switch (token.type) {
    case "paragraph":
      return <p>{each(token.tokens, inline)}</p>;
    case "heading": {
      const Heading = headings[(token.depth as number) - 1] ?? "h6";
      return <Heading>{each(token.tokens, inline)}</Heading>;
    }
    case "code":
      return <CodeBlock code={token.text as string} language={(token.lang as string | undefined) ?? ""} />;
    case "blockquote":
      return <blockquote>{each(token.tokens, block)}</blockquote>;
    case "list":
      return <ListView {...(token as Tokens.List)} />;
    case "table":
      return <TableView {...(token as Tokens.Table)} />;
    case "hr":
      return <hr />;
    case "space":
    case "def":
    case "checkbox":
      return null;
    case "html":
      return <p className="raw">{token.raw.trimEnd()}</p>;
    default:
      return inline(token);
  }
};

/** Drawn anew only when its source has changed: while an answer streams that is the last block alone. */
const Block = memo(
  ({ token }: { readonly token: Token; readonly names: number }) => block(token),
  (before, after) =>
    before.token.raw === after.token.raw &&
    before.token.type === after.token.type &&
    before.names === after.names,
);

/** Shows the text as it is when it is nested too deeply to be drawn. */
class OrPlain extends Component<
  { readonly source: string; readonly children: ReactNode },
  { failed: boolean }
> {
  override state = { failed: false };
  static getDerivedStateFromError = () => ({ failed: true });
  override render(): ReactNode {
    return this.state.failed ? <p className="raw">{this.props.source}</p> : this.props.children;
  }
}

export const Markdown = ({ source }: { readonly source: string }) => {
  const { tokens, names } = useMemo(() => blocksOf(source), [source]);
  return (
    <div className="markdown">
      <OrPlain source={source}>
        {tokens.map((token, place) => (
          // biome-ignore lint/suspicious/noArrayIndexKey: blocks have only their places, which stay while a text grows
          <Block key={place} token={token} names={names} />
        ))}
      </OrPlain>
    </div>
  );
};
