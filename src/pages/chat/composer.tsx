import { type ClipboardEvent, type KeyboardEvent, useEffect, useRef, useState } from "react";
import { api } from "./api.ts";
import { Failure } from "./failure.tsx";
import { IconButton } from "./icon-button.tsx";
import { ClipIcon, CloseIcon, FileIcon, SendIcon, StopIcon } from "./icons.tsx";
import type { Blob64 } from "./outbox.ts";
import { texts } from "./texts.ts";

const words = texts.composer;
const mostFiles = 20;
/** As Base64 they still fit into one request. */
const mostBytes = 20 * 2 ** 20;
/** The node forgets that somebody types after 10 s. */
const typingEveryMs = 5_000;

/** What was written and not sent, while the page is open: one looks elsewhere and comes back. */
const drafts = new Map<string, string>();

const bytesOf = ({ data }: Blob64): number => (data.length * 3) / 4;

const readFile = (file: File): Promise<Blob64> =>
  new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onerror = () => reject(new Error(words.unreadable(file.name)));
    reader.onload = () => {
      const [, data = ""] = String(reader.result).split(",", 2);
      const mimeType = file.type || "application/octet-stream";
      resolve({ type: "blob", data, mimeType, displayName: (file.name || "file").slice(0, 200) });
    };
    reader.readAsDataURL(file);
  });

/** Tells the others that one is typing, not at every key. */
const useTyping = (session: string) => {
  const told = useRef(0);
  const tell = (typing: boolean): void => {
    const now = Date.now();
    if (typing ? now - told.current < typingEveryMs : told.current === 0) return;
    told.current = typing ? now : 0;
    // Whether they know it does not matter enough to say anything about it.
    api.typing(session, typing).catch(() => undefined);
  };
  return tell;
};

export const Composer = ({
  session,
  readOnly,
  stoppable,
  onStop,
  onSend,
}: {
  readonly session: string;
  readonly readOnly: boolean;
  readonly stoppable: boolean;
  readonly onStop: () => void;
  readonly onSend: (prompt: string, files: readonly Blob64[]) => void;
}) => {
  const [draft, setDraft] = useState(drafts.get(session) ?? "");
  const [files, setFiles] = useState<readonly Blob64[]>([]);
  const [error, setError] = useState<string>();
  const box = useRef<HTMLTextAreaElement>(null);
  const chooser = useRef<HTMLInputElement>(null);
  const tellTyping = useTyping(session);

  useEffect(() => {
    if (draft === "") drafts.delete(session);
    else drafts.set(session, draft);
  }, [session, draft]);

  useEffect(() => {
    // Not on a phone, where it would open the keyboard.
    if (window.matchMedia("(hover: hover)").matches) box.current?.focus();
  }, []);

  const add = async (chosen: readonly File[]): Promise<void> => {
    setError(undefined);
    const size = files.reduce((sum, file) => sum + bytesOf(file), 0);
    if (files.length + chosen.length > mostFiles) return setError(words.tooMany);
    if (chosen.reduce((sum, file) => sum + file.size, size) > mostBytes) return setError(words.tooLarge);
    try {
      const read = await Promise.all(chosen.map(readFile));
      setFiles((before) => [...before, ...read]);
    } catch (reason) {
      setError(reason instanceof Error ? reason.message : texts.errors.unknown);
    }
  };

  const dropped = useRef(add);
  dropped.current = add;
  useEffect(() => {
    // Anywhere in the page: the browser would leave it to show the file.
    const over = (event: DragEvent): void => event.preventDefault();
    const drop = (event: DragEvent): void => {
      event.preventDefault();
      if (!readOnly) void dropped.current([...(event.dataTransfer?.files ?? [])]);
    };
    window.addEventListener("dragover", over);
    window.addEventListener("drop", drop);
    return () => {
      window.removeEventListener("dragover", over);
      window.removeEventListener("drop", drop);
    };
  }, [readOnly]);

  const send = (): void => {
    const prompt = draft.trim();
    if (prompt === "") return;
    onSend(prompt, files);
    setDraft("");
    setFiles([]);
    setError(undefined);
    tellTyping(false);
    box.current?.focus();
  };

  const onKeyDown = (event: KeyboardEvent): void => {
    // While a word is put together from several keys, Enter ends the word.
    if (event.key !== "Enter" || event.shiftKey || event.nativeEvent.isComposing) return;
    event.preventDefault();
    send();
  };

  const onPaste = (event: ClipboardEvent): void => {
    const pasted = [...event.clipboardData.files];
    if (pasted.length === 0) return;
    event.preventDefault();
    void add(pasted);
  };

  if (readOnly)
    return (
      <p id="message" className="read-only">
        {words.reader}
      </p>
    );
  return (
    <form
      className="composer"
      onSubmit={(event) => {
        event.preventDefault();
        send();
      }}
    >
      {files.length > 0 && (
        <ul className="chips">
          {files.map((file, place) => (
            // biome-ignore lint/suspicious/noArrayIndexKey: two files may have one name
            <li key={place} className="chip">
              <FileIcon />
              <span>{file.displayName}</span>
              <IconButton
                kind="quiet tiny"
                label={words.removeFile(file.displayName)}
                onClick={() => setFiles(files.filter((_, other) => other !== place))}
              >
                <CloseIcon />
              </IconButton>
            </li>
          ))}
        </ul>
      )}
      <Failure text={error} />
      <div className="composer-row">
        <input
          ref={chooser}
          type="file"
          multiple
          hidden
          onChange={({ target }) => {
            void add([...(target.files ?? [])]);
            target.value = "";
          }}
        />
        <IconButton label={words.attach} onClick={() => chooser.current?.click()}>
          <ClipIcon />
        </IconButton>
        <textarea
          id="message"
          ref={box}
          rows={1}
          aria-label={words.label}
          aria-describedby="message-hint"
          placeholder={words.placeholder}
          value={draft}
          onChange={({ target }) => {
            setDraft(target.value);
            tellTyping(target.value !== "");
          }}
          onKeyDown={onKeyDown}
          onPaste={onPaste}
        />
        {stoppable && (
          <IconButton kind="" label={texts.room.stopHint} onClick={onStop}>
            <StopIcon />
          </IconButton>
        )}
        <IconButton kind="primary" submit label={words.send} disabled={draft.trim() === ""}>
          <SendIcon />
        </IconButton>
      </div>
      <p id="message-hint" className="hint composer-hint">
        {words.hint}
      </p>
    </form>
  );
};
