import { useEffect } from "react";
import { IconButton } from "./icon-button.tsx";
import { CloseIcon } from "./icons.tsx";
import { texts } from "./texts.ts";

const shownMs = 5_000;

/** A word about what has just happened, above everything else for a moment. */
export const Notice = ({
  text,
  onClose,
}: {
  readonly text: string | undefined;
  readonly onClose: () => void;
}) => {
  // biome-ignore lint/correctness/useExhaustiveDependencies: the time begins with the text
  useEffect(() => {
    if (text === undefined) return;
    const timer = setTimeout(onClose, shownMs);
    return () => clearTimeout(timer);
  }, [text]);
  return (
    <div className="notices" role="status">
      {text !== undefined && (
        <div className="notice">
          <span>{text}</span>
          <IconButton label={texts.close} onClick={onClose}>
            <CloseIcon />
          </IconButton>
        </div>
      )}
    </div>
  );
};
