import { memo } from "react";
import type { Me } from "./api.ts";
import { Avatar } from "./avatar.tsx";
import type { SentFile } from "./facts.ts";
import { FileIcon } from "./icons.tsx";
import type { Json } from "./json.ts";
import { Markdown } from "./markdown-view.tsx";
import { RequestCard } from "./request-card.tsx";
import type { Turn } from "./room.ts";
import { texts } from "./texts.ts";
import { timeOf } from "./time.ts";
import type { Item } from "./timeline.ts";
import { Tools } from "./tools.tsx";

export const Files = ({ files }: { readonly files: readonly SentFile[] }) =>
  files.length === 0 ? null : (
    <ul className="chips">
      {files.map(({ name, type }, place) => (
        // biome-ignore lint/suspicious/noArrayIndexKey: two files may have one name
        <li key={place} className="chip" title={type}>
          <FileIcon />
          <span>{name}</span>
        </li>
      ))}
    </ul>
  );

export const Sender = ({ name, me, at }: { readonly name: string; readonly me: Me; readonly at: string }) => (
  <p className="sender">
    <Avatar name={name} />
    <span className="sender-name">{name === me.user ? texts.room.you : name}</span>
    <time dateTime={at}>{timeOf(at)}</time>
  </p>
);

const Ending = ({ turn }: { readonly turn: Turn }) => (
  <p className={`ending ${turn.state}`}>
    {turn.state === "aborted"
      ? texts.endings.aborted
      : turn.state === "interrupted"
        ? texts.endings.interrupted
        : texts.endings.failed(turn.reason ?? "")}
  </p>
);

const Answer = memo(({ content, grows }: { readonly content: string; readonly grows: boolean }) => (
  <article className="answer" aria-label={texts.room.model} aria-busy={grows}>
    <Markdown source={content} />
  </article>
));

interface Shared {
  readonly me: Me;
  readonly isOwner: boolean;
  readonly onAnswer: (request: string, answer: Json) => Promise<unknown>;
}

const Message = ({ item, me }: { readonly item: Extract<Item, { kind: "message" }>; readonly me: Me }) => (
  <article className={`message${item.sender === me.user ? " own" : ""}`} data-turn={item.turnId}>
    <Sender name={item.sender ?? texts.room.automatic} me={me} at={item.at} />
    <div className="bubble">
      <Markdown source={item.content} />
      <Files files={item.files} />
    </div>
  </article>
);

const ItemView = memo(({ item, me, isOwner, onAnswer }: Shared & { readonly item: Item }) => {
  switch (item.kind) {
    case "message":
      return <Message item={item} me={me} />;
    case "answer":
      return <Answer content={item.content} grows={item.grows} />;
    case "tools":
      return <Tools calls={item.calls} />;
    case "request":
      return (
        <RequestCard
          request={item.request}
          allowed={item.allowed}
          me={me}
          mayAnswer={item.request.for === me.user || isOwner}
          onAnswer={(answer) => onAnswer(item.request.id, answer)}
        />
      );
    case "ending":
      return <Ending turn={item.turn} />;
  }
});

export const Timeline = ({ items, ...shared }: Shared & { readonly items: readonly Item[] }) =>
  items.map((item) => <ItemView key={item.key} item={item} {...shared} />);
