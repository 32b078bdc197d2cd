import { useCallback, useEffect, useState } from "react";

const shownMs = 2_000;

/** Copies a text; `copied` for a moment afterwards. */
export const useCopy = (): { readonly copied: boolean; readonly copy: (text: string) => void } => {
  const [copied, setCopied] = useState(false);
  useEffect(() => {
    if (!copied) return;
    const timer = setTimeout(() => setCopied(false), shownMs);
    return () => clearTimeout(timer);
  }, [copied]);
  const copy = useCallback((text: string) => {
    navigator.clipboard?.writeText(text).then(
      () => setCopied(true),
      // Not allowed here: the text can be chosen by hand.
      () => undefined,
    );
  }, []);
  return { copied, copy };
};
