import { useCallback, useEffect, useMemo, useRef, useState } from "react";
import { api, type Me, messageOf, type Session } from "./api.ts";
import { Composer } from "./composer.tsx";
import { ConfirmDialog, RenameDialog } from "./dialogs.tsx";
import { DownIcon } from "./icons.tsx";
import type { Json } from "./json.ts";
import { titleOf } from "./names.ts";
import { pendingOf } from "./outbox.ts";
import { PendingMessage } from "./pending-message.tsx";
import { runningTurn, waitingTurns } from "./room.ts";
import { RoomHeader } from "./room-header.tsx";
import { ShareDialog } from "./share-dialog.tsx";
import type { StreamState } from "./stream.ts";
import { texts } from "./texts.ts";
import { timelineOf } from "./timeline.ts";
import { Timeline } from "./timeline-view.tsx";
import { useFollowing } from "./use-following.ts";
import { useOutbox } from "./use-outbox.ts";
import { useRoom } from "./use-room.ts";

type Dialog = "rename" | "delete" | "leave" | "share";

const endingOf = (stream: Extract<StreamState, { kind: "ended" }>): string => {
  if (stream.code === "session_deleted") return texts.connection.deleted;
  if (stream.code === "session_not_found") return texts.connection.gone;
  if (stream.code === "forbidden") return texts.connection.removed;
  return texts.connection.ended(stream.detail);
};

/** The answer of the turn that has just ended; not the one with which the history ends when the room is opened. */
const useSpoken = (runningId: string | undefined, answer: string | undefined): string | undefined => {
  const before = useRef(runningId);
  const [spoken, setSpoken] = useState<string>();
  useEffect(() => {
    if (before.current !== undefined && before.current !== runningId) setSpoken(answer);
    before.current = runningId;
  }, [runningId, answer]);
  return spoken;
};

/** Says finished answers to those who cannot see them: once each, and not word for word while they stream. */
const Announcer = ({ answer }: { readonly answer: string | undefined }) => (
  <p className="hidden" aria-live="polite">
    {answer === undefined ? "" : texts.room.answered + answer}
  </p>
);

const Activity = ({
  me,
  running,
  waiting,
}: {
  readonly me: Me;
  readonly running: string | undefined;
  readonly waiting: readonly string[];
}) => {
  if (running === undefined) return null;
  const next = waiting.map((user) => (user === me.user ? texts.room.waitingYou : user));
  return (
    <p className="activity">
      <span className="pulse" aria-hidden="true" />
      <span>{running === me.user ? texts.room.answeringYou : texts.room.answering(running)}</span>
      {next.length > 0 && <span className="activity-next">{texts.room.waiting(next)}</span>}
    </p>
  );
};

export const RoomView = (props: {
  readonly id: string;
  readonly me: Me;
  /** Undefined until it is known. */
  readonly session: Session | undefined;
  readonly onChanged: () => void;
  readonly onLeave: () => void;
  readonly onNotice: (notice: string) => void;
  readonly onSignedOut: () => void;
}) => {
  const { id, me, session, onChanged, onLeave, onNotice, onSignedOut } = props;
  const { room, stream } = useRoom(id);
  const { outbox, send, again, discard } = useOutbox(id);
  const [dialog, setDialog] = useState<Dialog>();
  const close = useCallback(() => setDialog(undefined), []);

  const running = runningTurn(room);
  const waiting = waitingTurns(room);
  const pending = useMemo(() => pendingOf(outbox, room), [outbox, room]);
  const busy = running !== undefined;
  const items = useMemo(() => timelineOf(room, busy), [room, busy]);
  const scroller = useRef<HTMLDivElement>(null);
  const { missed, onScroll, toEnd } = useFollowing(scroller, items, pending.length);

  const title = session === undefined ? texts.loading : (room.title ?? titleOf(session));
  const role = session?.role ?? "reader";
  const typing = room.present.filter((one) => one.typing && one.user !== me.user).map(({ user }) => user);
  const lastAnswer = room.facts.findLast((fact) => fact.kind === "assistant" && fact.content !== "");
  const spoken = useSpoken(running?.id, lastAnswer?.kind === "assistant" ? lastAnswer.content : undefined);

  const ended = stream.kind === "ended" ? stream.code : undefined;
  useEffect(() => {
    if (ended === "unauthenticated") onSignedOut();
  }, [ended, onSignedOut]);

  const answer = useCallback((request: string, given: Json) => api.answer(id, request, given), [id]);

  const runningId = running?.id;
  const known = useRef(false);
  // biome-ignore lint/correctness/useExhaustiveDependencies: the list is looked up again when it shows something else
  useEffect(() => {
    if (known.current) onChanged();
    known.current = true;
  }, [room.changes, room.title, runningId]);

  const attempt = useCallback(
    async (work: () => Promise<unknown>): Promise<boolean> => {
      try {
        await work();
        return true;
      } catch (error) {
        onNotice(messageOf(error));
        return false;
      }
    },
    [onNotice],
  );

  const stop = (turnId: string): void => void attempt(() => api.abort(id, turnId));
  const sendAgain = (key: string): void => {
    const lost = outbox.find((one) => one.key === key);
    if (lost?.state.kind === "accepted") {
      discard(key);
      send(lost.prompt, lost.attachments);
    } else again(key);
  };

  if (stream.kind === "ended")
    return (
      <main className="welcome">
        <h1>{endingOf(stream)}</h1>
        <button id="message" type="button" className="primary" onClick={onLeave}>
          {texts.connection.openList}
        </button>
      </main>
    );

  const empty = room.opened && items.length === 0 && pending.length === 0;
  return (
    <main className="room" aria-label={title}>
      <RoomHeader
        title={title}
        me={me}
        session={session}
        present={room.present}
        onBack={onLeave}
        onRename={() => setDialog("rename")}
        onDelete={() => setDialog("delete")}
        onShare={() => setDialog("share")}
        onLeave={() => setDialog("leave")}
      />
      <div className="conversation">
        <div
          className="scroller"
          ref={scroller}
          onScroll={onScroll}
          // biome-ignore lint/a11y/noNoninteractiveTabindex: it is scrolled with the keyboard too
          tabIndex={0}
          role="log"
          aria-live="off"
          aria-label={title}
        >
          <div className="column" aria-busy={!room.opened}>
            {empty && (
              <div className="empty">
                <h2>{role === "reader" ? texts.room.emptyReader : texts.room.empty}</h2>
                <p>{role === "reader" ? texts.room.emptyReaderHint : texts.room.emptyHint}</p>
              </div>
            )}
            <Timeline items={items} me={me} isOwner={role === "owner"} onAnswer={answer} />
            {pending.map((one) => (
              <PendingMessage
                key={one.key}
                message={one}
                me={me}
                running={one.state.kind === "accepted" && one.state.turnId === running?.id}
                onAgain={() => sendAgain(one.key)}
                onDiscard={() => discard(one.key)}
                onTakeBack={() => one.state.kind === "accepted" && stop(one.state.turnId)}
              />
            ))}
            <Activity me={me} running={running?.by} waiting={waiting.map(({ by }) => by)} />
          </div>
        </div>
        {missed && (
          <button type="button" className="to-end" onClick={toEnd}>
            <DownIcon />
            {texts.room.newMessages}
          </button>
        )}
      </div>
      <div className="below">
        <p className="typing" aria-live="polite">
          {stream.kind === "waiting"
            ? texts.connection.waiting
            : typing.length > 0
              ? texts.room.typing(typing)
              : ""}
        </p>
        <Composer
          session={id}
          readOnly={session !== undefined && role === "reader"}
          stoppable={running !== undefined && running.by === me.user}
          onStop={() => running !== undefined && stop(running.id)}
          onSend={(prompt, files) => {
            send(prompt, files);
            toEnd();
          }}
        />
      </div>
      <Announcer answer={spoken} />
      {dialog === "share" && session !== undefined && (
        <ShareDialog session={session} me={me} changes={room.changes} onClose={close} onNotice={onNotice} />
      )}
      {dialog === "rename" && session !== undefined && (
        <RenameDialog
          title={title}
          onClose={close}
          onSave={async (name) => {
            if (await attempt(() => api.rename(id, name))) onChanged();
            close();
          }}
        />
      )}
      {(dialog === "delete" || dialog === "leave") && (
        <ConfirmDialog
          {...texts.dialogs[dialog]}
          text={texts.dialogs[dialog].text(title)}
          onClose={close}
          onConfirm={async () => {
            const gone = await attempt(() =>
              dialog === "delete" ? api.remove(id) : api.revoke(id, me.user),
            );
            if (gone) onLeave();
            else close();
          }}
        />
      )}
    </main>
  );
};
