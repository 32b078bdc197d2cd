import type { Me, Session } from "./api.ts";
import { Avatar } from "./avatar.tsx";
import { IconButton } from "./icon-button.tsx";
import { BackIcon, EditIcon, LeaveIcon, ShareIcon, TrashIcon } from "./icons.tsx";
import type { Present } from "./room.ts";
import { texts } from "./texts.ts";

const words = texts.room;
const mostShown = 5;

export const RoomHeader = (props: {
  readonly title: string;
  readonly me: Me;
  readonly session: Session | undefined;
  readonly present: readonly Present[];
  readonly onBack: () => void;
  readonly onRename: () => void;
  readonly onDelete: () => void;
  readonly onShare: () => void;
  readonly onLeave: () => void;
}) => {
  const { title, me, session, present } = props;
  const others = present.filter(({ user, attached }) => attached && user !== me.user).map(({ user }) => user);
  const founder = session?.owner === me.user || session?.owner === "";
  return (
    <header className="room-header">
      <IconButton kind="quiet back" label={texts.back} onClick={props.onBack}>
        <BackIcon />
      </IconButton>
      <h1 title={title}>{title}</h1>
      <div className="here" role="img" aria-label={words.here(others)} title={words.here(others)}>
        {others.slice(0, mostShown).map((user) => (
          <Avatar key={user} name={user} here />
        ))}
        {others.length > mostShown && <span className="avatar more">+{others.length - mostShown}</span>}
      </div>
      {session !== undefined && (
        <>
          <button type="button" className="quiet with-word" onClick={props.onShare}>
            <ShareIcon />
            <span>{words.share}</span>
          </button>
          {session.role === "owner" && (
            <>
              <IconButton label={words.rename} onClick={props.onRename}>
                <EditIcon />
              </IconButton>
              <IconButton label={words.remove} onClick={props.onDelete}>
                <TrashIcon />
              </IconButton>
            </>
          )}
          {!founder && (
            <IconButton label={words.leave} onClick={props.onLeave}>
              <LeaveIcon />
            </IconButton>
          )}
        </>
      )}
    </header>
  );
};
