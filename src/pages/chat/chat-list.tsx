import { useId, useState } from "react";
import type { Me, Session } from "./api.ts";
import { Avatar } from "./avatar.tsx";
import { PlusIcon, SearchIcon } from "./icons.tsx";
import { matches, titleOf } from "./names.ts";
import { texts } from "./texts.ts";
import { whenOf } from "./time.ts";
import type { Sessions } from "./use-sessions.ts";

const words = texts.list;

const Entry = ({
  session,
  me,
  open,
  onOpen,
}: {
  readonly session: Session;
  readonly me: Me;
  readonly open: boolean;
  readonly onOpen: (id: string) => void;
}) => {
  const shared =
    session.owner !== "" && session.owner !== me.user
      ? words.sharedBy(session.owner, session.role)
      : session.participants > 1
        ? words.people(session.participants)
        : "";
  return (
    <li>
      <button
        type="button"
        className="entry"
        aria-current={open ? "page" : undefined}
        onClick={() => onOpen(session.id)}
      >
        <span className="entry-title">{titleOf(session)}</span>
        <span className="entry-time">{whenOf(session.lastUsedAt)}</span>
        <span className="entry-about">
          {session.busy && <span className="entry-busy">{words.answering}</span>}
          {shared !== "" && <span>{shared}</span>}
        </span>
      </button>
    </li>
  );
};

const Entries = ({
  sessions,
  search,
  me,
  open,
  onOpen,
  onRetry,
}: {
  readonly sessions: Sessions;
  readonly search: string;
  readonly me: Me;
  readonly open: string | undefined;
  readonly onOpen: (id: string) => void;
  readonly onRetry: () => void;
}) => {
  if (sessions.kind === "loading") return <div className="entries" aria-busy="true" />;
  if (sessions.kind === "failed")
    return (
      <div className="entries none" role="alert">
        <p>{words.failed}</p>
        <button type="button" onClick={onRetry}>
          {texts.retry}
        </button>
      </div>
    );
  const found = sessions.sessions.filter((session) => matches(session, search.trim()));
  if (found.length === 0)
    return (
      <div className="entries none" role="status">
        {search.trim() === "" ? (
          <>
            <p className="strong">{words.none}</p>
            <p>{words.noneHint}</p>
          </>
        ) : (
          <p>{words.nothingFound(search.trim())}</p>
        )}
      </div>
    );
  return (
    <ul className="entries">
      {found.map((session) => (
        <Entry key={session.id} session={session} me={me} open={session.id === open} onOpen={onOpen} />
      ))}
    </ul>
  );
};

export const ChatList = (props: {
  readonly me: Me;
  readonly sessions: Sessions;
  readonly open: string | undefined;
  readonly creating: boolean;
  readonly onOpen: (id: string) => void;
  readonly onCreate: () => void;
  readonly onRetry: () => void;
  readonly onSignOut: () => void;
}) => {
  const { me, creating, onCreate, onSignOut } = props;
  const [search, setSearch] = useState("");
  const searchId = useId();
  return (
    <nav className="list" aria-label={words.title}>
      <header>
        <h2>{words.title}</h2>
        <button type="button" className="primary" disabled={creating} onClick={onCreate}>
          <PlusIcon />
          {creating ? words.creating : words.create}
        </button>
      </header>
      <div className="search">
        <label htmlFor={searchId} className="hidden">
          {words.search}
        </label>
        <SearchIcon />
        <input
          id={searchId}
          type="search"
          placeholder={words.search}
          value={search}
          onChange={({ target }) => setSearch(target.value)}
          onKeyDown={({ key }) => {
            if (key === "Escape") setSearch("");
          }}
        />
      </div>
      <Entries {...props} search={search} />
      <footer>
        <Avatar name={me.user} />
        <span className="me" title={texts.signIn.as(me.user, me.tenant)}>
          <span className="me-user">{me.user}</span>
          <span className="me-tenant">{me.tenant}</span>
        </span>
        <button type="button" className="quiet" onClick={onSignOut}>
          {texts.signIn.out}
        </button>
      </footer>
    </nav>
  );
};
