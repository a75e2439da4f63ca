/** @file Follows the scrolling of a long table, so that only rows near the view are drawn. */
import type { RefObject } from 'react';
import { useLayoutEffect, useState } from 'react';
import type { RowWindow, View } from '../model/rowWindow.js';
import { rowWindow } from '../model/rowWindow.js';

function scrollerOf(element: Element): Element | null {
  for (let parent = element.parentElement; parent !== null; parent = parent.parentElement) {
    const { overflowY } = getComputedStyle(parent);
    if (overflowY === 'auto' || overflowY === 'scroll') return parent;
  }
  return null;
}

/**
 * The window of `count` rows of `rowPx` each that begin at the top of `body`.
 * @param body stays in place while rows come and go, so it is not one of them
 */
export function useRowWindow(
  body: RefObject<HTMLElement>,
  count: number,
  rowPx: number,
): RowWindow {
  const [view, setView] = useState<View | null>(null);
  useLayoutEffect(() => {
    const top = body.current;
    const scroller = top === null ? null : scrollerOf(top);
    if (top === null || scroller === null) return;
    const look = () => {
      const { top: viewPx, height: heightPx } = scroller.getBoundingClientRect();
      // In whole rows: what scrolls by less changes nothing.
      const offsetPx = Math.floor((viewPx - top.getBoundingClientRect().top) / rowPx) * rowPx;
      setView((now) =>
        now?.offsetPx === offsetPx && now.heightPx === heightPx ? now : { offsetPx, heightPx },
      );
    };
    look();
    scroller.addEventListener('scroll', look, { passive: true });
    const resized = new ResizeObserver(look);
    resized.observe(scroller);
    return () => {
      scroller.removeEventListener('scroll', look);
      resized.disconnect();
    };
  }, [body, rowPx]);
  return rowWindow(count, rowPx, view);
}
