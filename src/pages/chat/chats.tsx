import { useCallback, useEffect, useState } from "react";
import { api, type Me, messageOf, type Session } from "./api.ts";
import { ChatList } from "./chat-list.tsx";
import { titleOf } from "./names.ts";
import { RoomView } from "./room-view.tsx";
import { texts } from "./texts.ts";
import { useSessions } from "./use-sessions.ts";

const Welcome = () => (
  <main className="welcome">
    <h1>{texts.welcome.title}</h1>
    <p>{texts.welcome.hint}</p>
  </main>
);

/** The list and, beside it, the room that is open. On a phone it is one or the other. */
export const Chats = (props: {
  readonly me: Me;
  readonly open: string | undefined;
  readonly go: (session: string | undefined, how?: "replace") => void;
  readonly onNotice: (notice: string) => void;
  readonly onSignOut: () => void;
  readonly onSignedOut: () => void;
}) => {
  const { me, open, go, onNotice, onSignOut, onSignedOut } = props;
  const { sessions, refresh } = useSessions(onSignedOut);
  const [creating, setCreating] = useState(false);
  const listed = sessions.kind === "there" ? sessions.sessions.find(({ id }) => id === open) : undefined;
  const [found, setFound] = useState<Session>();
  const session = listed ?? (found?.id === open ? found : undefined);

  // One that was just joined or made is not in the list yet.
  useEffect(() => {
    if (open === undefined || listed !== undefined) return;
    let left = false;
    api.session(open).then(
      (one) => {
        if (!left) setFound(one);
        void refresh();
      },
      // The room's own stream says what is the matter.
      () => undefined,
    );
    return () => {
      left = true;
    };
  }, [open, listed, refresh]);

  useEffect(() => {
    document.title = session === undefined ? texts.product : texts.pageTitle(titleOf(session));
  }, [session]);

  const create = useCallback(async () => {
    setCreating(true);
    try {
      const made = await api.create();
      setFound(made);
      go(made.id);
      await refresh();
    } catch (error) {
      onNotice(messageOf(error));
    } finally {
      setCreating(false);
    }
  }, [go, refresh, onNotice]);

  const changed = useCallback(() => void refresh(), [refresh]);
  const leave = useCallback(() => {
    go(undefined, "replace");
    void refresh();
  }, [go, refresh]);

  return (
    <div className={`chats${open === undefined ? "" : " in-room"}`}>
      {open !== undefined && (
        <a className="skip" href="#message">
          {texts.skipToMessage}
        </a>
      )}
      <ChatList
        me={me}
        sessions={sessions}
        open={open}
        creating={creating}
        onOpen={go}
        onCreate={create}
        onRetry={changed}
        onSignOut={onSignOut}
      />
      {open === undefined ? (
        <Welcome />
      ) : (
        <RoomView
          key={open}
          id={open}
          me={me}
          session={session}
          onChanged={changed}
          onLeave={leave}
          onNotice={onNotice}
          onSignedOut={onSignedOut}
        />
      )}
    </div>
  );
};
