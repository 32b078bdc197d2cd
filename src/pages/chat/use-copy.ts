import { useCallback, useEffect, useState } from "react";

const shownMs = 2_000;

/** Where the clipboard is for pages alone that came over HTTPS. */
const copyByHand = (text: string): boolean => {
  const box = document.createElement("textarea");
  box.value = text;
  box.className = "hidden";
  // A dialog that is open keeps the focus inside.
  const before = document.activeElement;
  (before?.closest("dialog") ?? document.body).append(box);
  box.select();
  const done = document.execCommand("copy");
  box.remove();
  if (before instanceof HTMLElement) before.focus();
  return done;
};

const copyText = async (text: string): Promise<boolean> => {
  if (navigator.clipboard === undefined) return copyByHand(text);
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    return copyByHand(text);
  }
};

/** Copies a text; `copied` for a moment afterwards. */
export const useCopy = (): { readonly copied: boolean; readonly copy: (text: string) => void } => {
  const [copied, setCopied] = useState(false);
  useEffect(() => {
    if (!copied) return;
    const timer = setTimeout(() => setCopied(false), shownMs);
    return () => clearTimeout(timer);
  }, [copied]);
  const copy = useCallback((text: string) => {
    void copyText(text).then(setCopied);
  }, []);
  return { copied, copy };
};
