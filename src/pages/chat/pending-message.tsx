import type { Me } from "./api.ts";
import { Markdown } from "./markdown-view.tsx";
import { filesOf, type Pending } from "./outbox.ts";
import { texts } from "./texts.ts";
import { Files, Sender } from "./timeline-view.tsx";

const words = texts.composer;

/** A message of one's own that is not in the history yet. */
export const PendingMessage = ({
  message,
  me,
  running,
  onAgain,
  onDiscard,
  onTakeBack,
}: {
  readonly message: Pending;
  readonly me: Me;
  readonly running: boolean;
  readonly onAgain: () => void;
  readonly onDiscard: () => void;
  readonly onTakeBack: () => void;
}) => {
  const { state, lost } = message;
  const refused = state.kind === "refused" || lost;
  const said = {
    sending: words.sending,
    retrying: words.notSent,
    accepted: lost ? texts.endings.interrupted : running ? "" : words.waiting,
    refused: state.kind === "refused" ? words.refused(state.detail) : "",
  }[state.kind];
  return (
    <article className="message own pending">
      <Sender name={me.user} me={me} at="" />
      <div className="bubble">
        <Markdown source={message.prompt} />
        <Files files={filesOf(message)} />
      </div>
      <div className={`delivery${refused ? " refused" : ""}`}>
        <span role="status">{said}</span>
        {refused && (
          <>
            <button type="button" className="quiet small" onClick={onAgain}>
              {words.again}
            </button>
            <button type="button" className="quiet small" onClick={onDiscard}>
              {words.discard}
            </button>
          </>
        )}
        {state.kind === "accepted" && !lost && !running && (
          <button type="button" className="quiet small" onClick={onTakeBack}>
            {words.takeBack}
          </button>
        )}
      </div>
    </article>
  );
};
