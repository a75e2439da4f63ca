/** @file What a drill says: figures with their bars, promises apart from times. Pure. */

export interface Figure {
  readonly name: string;
  readonly value: number | string | boolean;
  /**
   * A promise holds or is broken, wherever the drill runs. A time belongs to the machine: its bar may be stretched where
   * others work on it too. A note has no bar.
   */
  readonly kind: 'promise' | 'time' | 'note';
  /** In the unit that the name ends with. */
  readonly atMost?: number;
  readonly equals?: number | string | boolean;
}

export interface Verdict {
  readonly drill: string;
  readonly figures: readonly Figure[];
  /** Why it did not run; null when it did. */
  readonly skipped: string | null;
  /** What broke it before its end. */
  readonly error: string | null;
  readonly tookMs: number;
}

/** Four digits; whole numbers as they are. */
const rounded = (value: number): number =>
  Number.isInteger(value) ? value : Number(value.toPrecision(4));

/** Holds a promise that something is so. */
export const holds = (name: string, value: boolean): Figure => ({
  name,
  value,
  kind: 'promise',
  equals: true,
});

/** Holds a promise that something did not happen once. */
export const none = (name: string, value: number): Figure => ({
  name,
  value,
  kind: 'promise',
  equals: 0,
});

export const atMost = (name: string, value: number, most: number): Figure => ({
  name,
  value,
  kind: 'promise',
  atMost: Math.ceil(most),
});

export const time = (name: string, value: number, most: number): Figure => ({
  name,
  value: rounded(value),
  kind: 'time',
  atMost: most,
});

export const note = (name: string, value: number | string | boolean): Figure => ({
  name,
  value: typeof value === 'number' ? rounded(value) : value,
  kind: 'note',
});

/** @param slack by which bars on times are multiplied */
export function isHeld(figure: Figure, slack: number): boolean {
  const { kind, value, equals } = figure;
  if (kind === 'note') return true;
  if (equals !== undefined && value !== equals) return false;
  const most = (figure.atMost ?? Infinity) * (kind === 'time' ? slack : 1);
  // Clocks of two processes differ by less than a millisecond; a time before its cause is a mistake of the drill.
  const least = kind === 'time' ? -1 : -Infinity;
  return typeof value !== 'number' || (value >= least && value <= most);
}

export function isGood(verdict: Verdict, slack: number): boolean {
  return verdict.error === null && verdict.figures.every((figure) => isHeld(figure, slack));
}

/** Lines for people: the drill, then a line a figure. */
export function format(verdict: Verdict, slack: number): string {
  const { drill, figures, skipped, error, tookMs } = verdict;
  if (skipped !== null) return `- ${drill}: skipped: ${skipped}`;
  const mark = isGood(verdict, slack) ? '✓' : '✗';
  const lines = figures.map((figure) => `    ${formatFigure(figure, slack)}`);
  if (error !== null) lines.push(`    failed: ${error.replaceAll('\n', '\n      ')}`);
  return [`${mark} ${drill}  ${(tookMs / 1000).toFixed(1)} s`, ...lines].join('\n');
}

function formatFigure(figure: Figure, slack: number): string {
  const { name, value, kind, equals } = figure;
  const text = `${name}: ${String(value)}`;
  if (kind === 'note') return text;
  const stretch = kind === 'time' && slack !== 1 ? ` × ${String(slack)}` : '';
  const bar = equals === undefined ? `at most ${String(figure.atMost)}${stretch}` : String(equals);
  return `${text}  (${bar}: ${isHeld(figure, slack) ? 'held' : 'MISSED'})`;
}
