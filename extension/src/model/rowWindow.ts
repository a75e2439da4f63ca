/** @file Which rows of a long table are near the view; pure. Rows have one height, so nothing is measured. */

/** Fewer rows than this are all drawn: it costs little, and the page's own search finds them. */
const ALL_BELOW = 60;
/** Drawn above and below the view, so that a wheel or a Tab finds rows already there. */
const MARGIN_ROWS = 12;

export interface RowWindow {
  /** Index of the first row drawn, and of the first one after the last. */
  readonly first: number;
  readonly end: number;
}

export interface View {
  /** From the top of the table's body to the top of what is seen; px, negative while the body begins lower. */
  readonly offsetPx: number;
  readonly heightPx: number;
}

/** Rows to draw of `count`; all of them when there is no view to go by. */
export function rowWindow(count: number, rowPx: number, view: View | null): RowWindow {
  if (count < ALL_BELOW || view === null) return { first: 0, end: count };
  const top = Math.floor(view.offsetPx / rowPx) - MARGIN_ROWS;
  const bottom = Math.ceil((view.offsetPx + view.heightPx) / rowPx) + MARGIN_ROWS;
  const first = Math.min(count, Math.max(0, top));
  return { first, end: Math.max(first, Math.min(count, bottom)) };
}
