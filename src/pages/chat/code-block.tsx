import { CheckIcon, CopyIcon } from "./icons.tsx";
import { texts } from "./texts.ts";
import { useCopy } from "./use-copy.ts";

export const CodeBlock = ({ code, language }: { readonly code: string; readonly language: string }) => {
  const { copied, copy } = useCopy();
  return (
    <figure className="code">
      <figcaption>
        <span>{language.split(/\s/)[0] || texts.code.text}</span>
        <button type="button" className="quiet small" onClick={() => copy(code)}>
          {copied ? <CheckIcon /> : <CopyIcon />}
          {copied ? texts.code.copied : texts.code.copy}
        </button>
      </figcaption>
      {/* biome-ignore lint/a11y/noNoninteractiveTabindex: wide code is scrolled with the keyboard too */}
      <pre tabIndex={0}>
        <code>{code}</code>
      </pre>
    </figure>
  );
};
