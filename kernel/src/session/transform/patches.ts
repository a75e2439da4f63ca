/**
 * @file Edits of a source text that never change its line count, and the way back from an edited
 * column to the original one.
 */

/** One edit: `[start, end)` of the original becomes `text`. */
export interface Patch {
  readonly start: number;
  readonly end: number;
  readonly text: string;
}

/** A half-open range of offsets. */
export interface Span {
  readonly start: number;
  readonly end: number;
}

/** A place in a cell; both count from 1. */
export interface Position {
  readonly line: number;
  readonly column: number;
}

/**
 * Collects edits of nested nodes: `open` before the children are visited, `close` after them, so that
 * wrappers around the same place nest in the right order.
 */
export class PatchList {
  private readonly closings: Patch[] = [];
  private readonly openings: Patch[] = [];
  private readonly replacements: Patch[] = [];

  /** Inserts before a node; call in pre-order. */
  open(at: number, text: string): void {
    this.openings.push({ start: at, end: at, text });
  }

  /** Inserts after a node; call in post-order. */
  close(at: number, text: string): void {
    this.closings.push({ start: at, end: at, text });
  }

  /** Replaces a range; lines that it spans are kept as empty lines behind `text`. */
  replace(range: Span, text: string, source: string): void {
    const lines = source.slice(range.start, range.end).split('\n').length - 1;
    this.replacements.push({ ...range, text: text + '\n'.repeat(lines) });
  }

  /** All edits in the order in which they apply. */
  sorted(): Patch[] {
    const all = [...this.closings, ...this.openings, ...this.replacements];
    return all
      .map((patch, index) => ({ patch, index }))
      .sort((a, b) => a.patch.start - b.patch.start || a.index - b.index)
      .map(({ patch }) => patch);
  }
}

/** Applies the edits that lie inside `keep`; the rest of the source becomes blank, line by line. */
export function renderSpans(
  source: string,
  patches: readonly Patch[],
  keep: readonly Span[],
): string {
  let rendered = '';
  let at = 0;
  for (const span of keep) {
    rendered += blank(source.slice(at, span.start));
    at = span.start;
    for (const patch of patches) {
      if (!isInside(patch, span)) continue;
      rendered += source.slice(at, patch.start) + patch.text;
      at = patch.end;
    }
    rendered += source.slice(at, span.end);
    at = span.end;
  }
  return rendered + blank(source.slice(at));
}

/** The ranges of `[0, length)` that `spans` (ascending, disjoint) leave out. */
export function gapsBetween(spans: readonly Span[], length: number): Span[] {
  const gaps: Span[] = [];
  let at = 0;
  for (const span of spans) {
    if (span.start > at) gaps.push({ start: at, end: span.start });
    at = span.end;
  }
  if (at < length || gaps.length === 0) gaps.push({ start: at, end: length });
  return gaps;
}

/** Maps a column of the edited text back to the original; null if the place was blanked there. */
export function originalColumn(
  source: string,
  patches: readonly Patch[],
  keep: readonly Span[],
  position: Position,
): number | null {
  const lineStart = offsetOfLine(source, position.line);
  const newlineAt = source.indexOf('\n', lineStart);
  const lineEnd = newlineAt === -1 ? source.length : newlineAt;
  let generated = 0;
  let original = lineStart;
  const target = position.column - 1;
  for (const patch of patches) {
    if (patch.end < lineStart || patch.start > lineEnd) continue;
    if (!keep.some((span) => isInside(patch, span))) continue;
    const start = Math.max(patch.start, lineStart);
    if (generated + (start - original) > target) break;
    generated += start - original;
    const text = patch.start < lineStart ? '' : (patch.text.split('\n')[0] ?? '');
    if (generated + text.length > target) {
      original = start;
      generated = target;
      break;
    }
    generated += text.length;
    original = Math.min(patch.end, lineEnd);
  }
  const offset = Math.min(original + Math.max(0, target - generated), lineEnd);
  const isKept = keep.some((span) => offset >= span.start && offset <= span.end);
  return isKept ? offset - lineStart + 1 : null;
}

function offsetOfLine(source: string, line: number): number {
  let offset = 0;
  for (let current = 1; current < line; current++) {
    const next = source.indexOf('\n', offset);
    if (next < 0) return source.length;
    offset = next + 1;
  }
  return offset;
}

function isInside(patch: Patch, span: Span): boolean {
  return patch.start >= span.start && patch.end <= span.end;
}

function blank(text: string): string {
  return text.replace(/[^\n\r]/g, ' ');
}
