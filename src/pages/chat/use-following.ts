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
  /** Where the element stood when it was last looked at. */
  const top = useRef(0);
  const [missed, setMissed] = useState(false);

  const goToEnd = useCallback((element: HTMLElement) => {
    element.scrollTop = element.scrollHeight;
    top.current = element.scrollTop;
  }, []);

  /** Follows, unless the reader has just begun to scroll up, which the browser will tell only later. */
  const follow = useCallback(
    (element: HTMLElement) => {
      if (element.scrollTop < top.current - 1 && !isAtEnd(element)) following.current = false;
      if (following.current) goToEnd(element);
    },
    [goToEnd],
  );

  const toEnd = useCallback(() => {
    following.current = true;
    setMissed(false);
    if (scroller.current !== null) goToEnd(scroller.current);
  }, [scroller, goToEnd]);

  const onScroll = useCallback(() => {
    const element = scroller.current;
    if (element === null) return;
    top.current = element.scrollTop;
    following.current = isAtEnd(element);
    if (following.current) setMissed(false);
  }, [scroller]);

  // biome-ignore lint/correctness/useExhaustiveDependencies: they are what may have grown
  useLayoutEffect(() => {
    const element = scroller.current;
    if (element === null) return;
    follow(element);
    if (!following.current && !isAtEnd(element)) setMissed(true);
  }, [scroller, content, count, follow]);

  // The window, the message box or a part of the conversation has another size now.
  useEffect(() => {
    const element = scroller.current;
    if (element === null) return;
    const observer = new ResizeObserver(() => follow(element));
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
  }, [scroller, follow]);

  return { missed, onScroll, toEnd };
};
