/** @file Confusion matrix: actual classes in rows, predicted ones in columns. */
import { ShapeError } from '@ravenlab/protocol';
import type { Values } from './charts.js';
import { numbersOf } from './charts.js';
import { Figure } from './figure.js';
import { COLOURS, element, FAINT, INK, label, svg } from './svg.js';

export interface ConfusionOptions {
  readonly title?: string;
  /** Names of the classes; their numbers when left out. */
  readonly classes?: readonly string[];
}

const CELL = 34;
const LEFT = 74;
const TOP = 58;

/** Counts `[actual][predicted]`. @throws ShapeError when the lists differ in length or hold no class numbers. */
function countConfusions(
  actual: readonly number[],
  predicted: readonly number[],
  classes: number,
): number[][] {
  if (actual.length !== predicted.length) {
    throw new ShapeError(
      `plot.confusionMatrix: ${String(actual.length)} actual and ${String(predicted.length)} predicted classes; expected as many`,
    );
  }
  const counts = Array.from({ length: classes }, () => new Array<number>(classes).fill(0));
  actual.forEach((row, i) => {
    const column = predicted[i] ?? -1;
    const line = counts[row];
    if (line?.[column] === undefined) {
      throw new ShapeError(
        `plot.confusionMatrix: sample ${String(i)} has classes ${String(row)} and ${String(column)}, expected 0 … ${String(classes - 1)}`,
      );
    }
    line[column] = (line[column] ?? 0) + 1;
  });
  return counts;
}

export function confusionMatrix(
  actual: Values,
  predicted: Values,
  options: ConfusionOptions = {},
): Figure {
  const [rows, columns] = [numbersOf(actual), numbersOf(predicted)];
  const highest = [...rows, ...columns].reduce((a, b) => Math.max(a, b), 0);
  const names = options.classes ?? Array.from({ length: highest + 1 }, (_, i) => String(i));
  const counts = countConfusions(rows, columns, names.length);
  const right = counts.reduce((sum, row, i) => sum + (row[i] ?? 0), 0);
  const share = rows.length === 0 ? 0 : right / rows.length;
  const title = options.title ?? 'Confusion matrix';
  const head = `${title}: ${(share * 100).toFixed(1)} % of ${String(rows.length)} right`;
  const size = names.length * CELL;
  const parts = [
    label(head, 0, 16, { 'font-size': 13, 'font-weight': 600 }),
    label('predicted', LEFT + size / 2, 36, { 'text-anchor': 'middle', opacity: 0.75 }),
    label('actual', 4, TOP + size / 2, { opacity: 0.75 }),
    ...names.map((name, i) =>
      label(name, LEFT + (i + 0.5) * CELL, TOP - 6, { 'text-anchor': 'middle' }),
    ),
    ...names.map((name, i) =>
      label(name, LEFT - 8, TOP + (i + 0.5) * CELL + 4, { 'text-anchor': 'end' }),
    ),
    ...counts.flatMap((row, r) => row.map((count, c) => cell(r, c, count, row))),
  ];
  const text = [head, ...counts.map((row) => row.map((n) => String(n).padStart(4)).join(''))].join(
    '\n',
  );
  return new Figure(
    svg(Math.max(LEFT + size + 8, 320), TOP + size + 8, head, parts.join('')),
    text,
  );
}

/** Shade is the share of the row, so that rare classes are as readable as common ones. */
function cell(r: number, c: number, count: number, row: readonly number[]): string {
  const total = row.reduce((a, b) => a + b, 0);
  const share = total === 0 ? 0 : count / total;
  const [x, y] = [LEFT + c * CELL, TOP + r * CELL];
  const box = element('rect', {
    x: x + 1,
    y: y + 1,
    width: CELL - 2,
    height: CELL - 2,
    rx: 3,
    fill: (r === c ? COLOURS[0] : COLOURS[1]) ?? INK,
    'fill-opacity': count === 0 ? 0 : 0.15 + 0.85 * share,
    stroke: FAINT,
    'stroke-opacity': 0.4,
  });
  if (count === 0) return box;
  const ink = share > 0.5 ? '#fff' : INK;
  return (
    box +
    label(String(count), x + CELL / 2, y + CELL / 2 + 4, { 'text-anchor': 'middle', fill: ink })
  );
}
