/** @file A few lines of SVG: elements, scales and ticks. Colours are theme variables, so charts follow light and dark. */
import { escapeHtml } from '../html.js';

export type Attributes = Readonly<Record<string, string | number>>;

/** `<name …>children</name>`; attribute values are escaped, children are markup. */
export function element(name: string, attributes: Attributes, children = ''): string {
  const list = Object.entries(attributes)
    .map(
      ([key, value]) => ` ${key}="${escapeHtml(typeof value === 'number' ? short(value) : value)}"`,
    )
    .join('');
  return children === '' ? `<${name}${list}/>` : `<${name}${list}>${children}</${name}>`;
}

/** Coordinates need no more than a hundredth of a pixel. */
export function short(value: number): string {
  return String(Math.round(value * 100) / 100);
}

export function label(text: string, x: number, y: number, attributes: Attributes = {}): string {
  return element('text', { x, y, fill: INK, ...attributes }, escapeHtml(text));
}

export const INK = 'var(--jp-ui-font-color1, currentColor)';
export const FAINT = 'var(--jp-border-color2, #bdbdbd)';
export const PAPER = 'var(--jp-layout-color0, transparent)';

/** Told apart by hue and by lightness; each has at least 3:1 against white and against black. */
export const COLOURS: readonly string[] = [
  '#3d7fd9',
  '#d9692b',
  '#1f9d84',
  '#b84fa3',
  '#8a7a1f',
  '#7a63d1',
  '#c8495b',
  '#4f8f3a',
];

export function colourOf(index: number): string {
  return COLOURS[index % COLOURS.length] ?? INK;
}

/** An `<svg>` that is as wide as the cell allows, at most `width` pixels. */
export function svg(width: number, height: number, title: string, children: string): string {
  return element(
    'svg',
    {
      xmlns: 'http://www.w3.org/2000/svg',
      viewBox: `0 0 ${String(width)} ${String(height)}`,
      width,
      height,
      role: 'img',
      'aria-label': title,
      style: 'max-width:100%;height:auto;display:block',
      'font-family': 'var(--jp-ui-font-family, system-ui, sans-serif)',
      'font-size': 11,
    },
    children,
  );
}

export interface Range {
  readonly min: number;
  readonly max: number;
}

/** Smallest range that holds all finite values; never empty. */
export function rangeOf(values: Iterable<number>): Range {
  let min = Infinity;
  let max = -Infinity;
  for (const value of values) {
    if (!Number.isFinite(value)) continue;
    min = Math.min(min, value);
    max = Math.max(max, value);
  }
  if (min > max) return { min: 0, max: 1 };
  if (min < max) return { min, max };
  const margin = min === 0 ? 1 : Math.abs(min) / 2;
  return { min: min - margin, max: max + margin };
}

/** Round numbers in a range, about `count` of them: steps of 1, 2 or 5 times a power of ten. */
export function ticks({ min, max }: Range, count: number): number[] {
  const raw = (max - min) / Math.max(1, count);
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = ([1, 2, 5].find((factor) => factor * power >= raw) ?? 10) * power;
  // Counted up front: a loop would not end where adding a step no longer changes the value.
  const first = Math.ceil(min / step - 1e-9);
  const last = Math.floor(max / step + 1e-9);
  const length = Math.min(2 * count + 2, Math.max(0, last - first + 1));
  return Array.from({ length }, (_, i) => (first + i) * step);
}

/** Smallest range that holds all positive values; never empty and never at zero, so that its logarithm is finite. */
export function positiveRangeOf(values: readonly number[]): Range {
  const positive = values.filter((value) => value > 0);
  if (positive.length === 0) return { min: 0.1, max: 1 };
  const { min, max } = rangeOf(positive);
  return min > 0 ? { min, max } : { min: max / 10, max };
}

/** Powers of ten in a positive range; with few of them also 2 and 5 times each. */
export function logTicks({ min, max }: Range): number[] {
  const first = Math.floor(Math.log10(min));
  const last = Math.ceil(Math.log10(max));
  const powers = Array.from({ length: last - first + 1 }, (_, i) => first + i);
  const factors = max / min > 300 ? [1] : [1, 2, 5];
  return powers
    .flatMap((power) => factors.map((factor) => factor * 10 ** power))
    .filter((value) => value >= min * 0.999 && value <= max * 1.001);
}

/** A tick's value with no more digits than the step needs. */
export function tickLabel(value: number): string {
  const size = Math.abs(value);
  if (size !== 0 && (size < 1e-3 || size >= 1e6)) return value.toExponential(0).replace('e+', 'e');
  return size >= 1000 ? value.toLocaleString('en-US') : String(Number(value.toPrecision(6)));
}
