import { type ReactNode, useEffect, useId, useRef, useState } from "react";
import { IconButton } from "./icon-button.tsx";
import { CloseIcon } from "./icons.tsx";
import { texts } from "./texts.ts";

/** A dialog of the browser's own: Escape closes it, and what is behind it is out of reach meanwhile. */
export const Dialog = ({
  title,
  onClose,
  children,
}: {
  readonly title: string;
  readonly onClose: () => void;
  readonly children: ReactNode;
}) => {
  const element = useRef<HTMLDialogElement>(null);
  const titleId = useId();
  useEffect(() => {
    const before = document.activeElement;
    const dialog = element.current;
    dialog?.showModal();
    // The browser would take the first button, and React has focused before the dialog was open.
    dialog?.querySelector<HTMLElement>("[data-first]")?.focus();
    return () => {
      dialog?.close();
      // The browser does so only for a dialog that is still there.
      if (before instanceof HTMLElement) before.focus();
    };
  }, []);
  return (
    // biome-ignore lint/a11y/useKeyWithClickEvents: Escape does the same
    <dialog
      ref={element}
      aria-labelledby={titleId}
      onCancel={(event) => {
        event.preventDefault();
        onClose();
      }}
      onClick={(event) => {
        if (event.target === event.currentTarget) onClose();
      }}
    >
      <div className="dialog-inside">
        <header>
          <h2 id={titleId}>{title}</h2>
          <IconButton label={texts.close} onClick={onClose}>
            <CloseIcon />
          </IconButton>
        </header>
        {children}
      </div>
    </dialog>
  );
};

export const ConfirmDialog = ({
  title,
  text,
  confirm,
  onClose,
  onConfirm,
}: {
  readonly title: string;
  readonly text: string;
  readonly confirm: string;
  readonly onClose: () => void;
  readonly onConfirm: () => Promise<void>;
}) => {
  const [busy, setBusy] = useState(false);
  return (
    <Dialog title={title} onClose={onClose}>
      <p>{text}</p>
      <div className="buttons end">
        <button type="button" data-first onClick={onClose}>
          {texts.cancel}
        </button>
        <button
          type="button"
          className="danger"
          disabled={busy}
          onClick={() => {
            setBusy(true);
            void onConfirm();
          }}
        >
          {confirm}
        </button>
      </div>
    </Dialog>
  );
};

export const RenameDialog = ({
  title,
  onClose,
  onSave,
}: {
  readonly title: string;
  readonly onClose: () => void;
  readonly onSave: (name: string) => Promise<void>;
}) => {
  const [name, setName] = useState(title);
  const [busy, setBusy] = useState(false);
  const nameId = useId();
  return (
    <Dialog title={texts.dialogs.renameTitle} onClose={onClose}>
      <form
        onSubmit={(event) => {
          event.preventDefault();
          if (name.trim() === "") return;
          setBusy(true);
          void onSave(name.trim());
        }}
      >
        <label htmlFor={nameId}>{texts.dialogs.name}</label>
        <input
          id={nameId}
          data-first
          maxLength={200}
          value={name}
          onFocus={({ target }) => target.select()}
          onChange={({ target }) => setName(target.value)}
        />
        <div className="buttons end">
          <button type="button" onClick={onClose}>
            {texts.cancel}
          </button>
          <button type="submit" className="primary" disabled={busy || name.trim() === ""}>
            {texts.dialogs.save}
          </button>
        </div>
      </form>
    </Dialog>
  );
};
