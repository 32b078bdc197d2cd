import { ChevronIcon, ToolIcon } from "./icons.tsx";
import { texts } from "./texts.ts";
import type { ToolCall } from "./timeline.ts";

const words = texts.tools;

const Text = ({ label, children }: { readonly label: string; readonly children: string }) => (
  <>
    <p className="tool-label">{label}</p>
    {/* biome-ignore lint/a11y/noNoninteractiveTabindex: what is long is scrolled with the keyboard too */}
    <pre className="tool-text" tabIndex={0}>
      {children}
    </pre>
  </>
);

const Call = ({ name, args, state, result }: ToolCall) => (
  <details className={`tool ${state}`}>
    <summary>
      <ChevronIcon />
      <ToolIcon />
      <code>{name}</code>
      <span className="tool-state">{words.states[state]}</span>
    </summary>
    <div className="tool-inside">
      {args !== "" && args !== "{}" && <Text label={words.arguments}>{args}</Text>}
      {state !== "running" && <Text label={words.result}>{result === "" ? words.nothing : result}</Text>}
    </div>
  </details>
);

/** What the model has done before it said something. Folded, since one seldom wants to read it. */
export const Tools = ({ calls }: { readonly calls: readonly ToolCall[] }) => (
  <div className="tools">
    {calls.map((call) => (
      <Call key={call.callId} {...call} />
    ))}
  </div>
);
