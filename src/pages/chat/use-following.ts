import { type RefObject, useCallback, useEffect, useLayoutEffect, useRef, useState } from "react";

/** So near to the end counts as there, in pixels. */
const near = 48;

const isAtEnd = ({ scrollHeight, scrollTop, clientHeight }: HTMLElement): boolean =>
  scrollHeight - scrollTop - clientHeight <= near;

/**
 * Stays at the end of what grows as long as the reader is there, and does not move otherwise. `missed`: something came below
 * while the reader was further up.
 */
export const useFollowing = (scroller: RefObject<HTMLElement | null>, content: unknown, count: number) => {
  const following = useRef(true);
  const [missed, setMissed] = useState(false);

  const toEnd = useCallback(() => {
    following.current = true;
    setMissed(false);
    const element = scroller.current;
    if (element !== null) element.scrollTop = element.scrollHeight;
  }, [scroller]);

  const onScroll = useCallback(() => {
    const element = scroller.current;
    if (element === null) return;
    following.current = isAtEnd(element);
    if (following.current) setMissed(false);
  }, [scroller]);

  // biome-ignore lint/correctness/useExhaustiveDependencies: they are what may have grown
  useLayoutEffect(() => {
    const element = scroller.current;
    if (element === null) return;
    if (following.current) element.scrollTop = element.scrollHeight;
    else if (!isAtEnd(element)) setMissed(true);
  }, [scroller, content, count]);

  // The window, the message box or a picture of the page has another size now.
  useEffect(() => {
    const element = scroller.current;
    if (element === null) return;
    const observer = new ResizeObserver(() => {
      if (following.current) element.scrollTop = element.scrollHeight;
    });
    observer.observe(element);
    if (element.firstElementChild !== null) observer.observe(element.firstElementChild);
    // What the reader unfolds grows below the place where it is.
    const unfold = ({ target }: Event): void => {
      if (target instanceof Element && target.closest("summary") !== null) following.current = false;
    };
    element.addEventListener("click", unfold);
    return () => {
      observer.disconnect();
      element.removeEventListener("click", unfold);
    };
  }, [scroller]);

  return { missed, onScroll, toEnd };
};
