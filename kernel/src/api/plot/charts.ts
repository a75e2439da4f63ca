/** @file Lines, points and bars. */
import { ShapeError } from '@ravenlab/protocol';
import { Tensor } from '../tensor.js';
import type { AxesOptions } from './axes.js';
import { Axes } from './axes.js';
import { Figure } from './figure.js';
import { colourOf, element, INK, label, rangeOf, short, svg, tickLabel } from './svg.js';

/** Numbers to plot: an array, a typed array, or a tensor of rank 1. */
export type Values = ArrayLike<number> | Tensor;

export interface Series {
  readonly y: Values;
  /** 0, 1, 2, … when left out. */
  readonly x?: Values;
  readonly label?: string;
  /** Draws the curve faint and its running mean over it: for noisy series like a loss. */
  readonly trend?: boolean;
}

/** Points of a polyline beyond which neighbours are merged: more than there are pixels. */
const MAX_POINTS = 1_200;
/** A shorter curve is its own trend. */
const MIN_TREND_POINTS = 40;

interface Points {
  readonly x: number[];
  readonly y: number[];
}

export function numbersOf(values: Values): number[] {
  if (!(values instanceof Tensor)) return Array.from(values);
  if (values.ndim > 1) {
    throw new ShapeError(
      `plot: expected numbers or a tensor of rank 1, got [${values.shape.join(', ')}]; flatten() it or pick a row`,
      { shape: values.shape },
    );
  }
  return Array.from(values.dataSync());
}

function isSeriesList(data: Values | Series | readonly Series[]): data is readonly Series[] {
  return Array.isArray(data) && data.some((item) => typeof item === 'object');
}

function seriesOf(data: Values | Series | readonly Series[]): Series[] {
  if (isSeriesList(data)) return [...data];
  return typeof data === 'object' && 'y' in data ? [data] : [{ y: data }];
}

function pointsOf(series: Series): Points {
  const y = numbersOf(series.y);
  const x = series.x === undefined ? y.map((_, i) => i) : numbersOf(series.x);
  if (x.length !== y.length) {
    throw new ShapeError(
      `plot: ${String(x.length)} x values for ${String(y.length)} y values; expected as many`,
    );
  }
  return { x, y };
}

/** Means of neighbours, so that a long curve keeps its shape at a bounded size. */
function thinned({ x, y }: Points, limit = MAX_POINTS): Points {
  const group = Math.ceil(x.length / limit);
  if (group <= 1) return { x, y };
  const result: Points = { x: [], y: [] };
  for (let begin = 0; begin < x.length; begin += group) {
    const part = y.slice(begin, begin + group).filter(Number.isFinite);
    if (part.length === 0) continue;
    result.x.push(x[begin] ?? 0);
    result.y.push(part.reduce((sum, value) => sum + value, 0) / part.length);
  }
  return result;
}

/** An SVG path through the finite points; gaps where there are none. */
function pathOf(axes: Axes, { x, y }: Points): string {
  let path = '';
  let isDown = false;
  y.forEach((value, i) => {
    const top = axes.y(value);
    if (!Number.isFinite(top)) {
      isDown = false;
      return;
    }
    path += `${isDown ? 'L' : 'M'}${short(axes.x(x[i] ?? 0))} ${short(top)}`;
    isDown = true;
  });
  return path;
}

/** Exponential running mean over about a twentieth of the curve, without the bias of its start. */
function trendOf({ x, y }: Points): Points {
  const keep = 1 - 1 / Math.max(2, y.length / 20);
  let [sum, weight] = [0, 0];
  const smooth = y.map((value) => {
    if (Number.isFinite(value)) [sum, weight] = [keep * sum + value, keep * weight + 1];
    return sum / weight;
  });
  return { x, y: smooth };
}

/** One or several curves. */
export function line(data: Values | Series | readonly Series[], options: AxesOptions = {}): Figure {
  const series = seriesOf(data);
  const curves = series.map((one) => thinned(pointsOf(one)));
  const names = series.map((one, index) => one.label ?? `series ${String(index + 1)}`);
  const axes = new Axes(
    curves.flatMap((c) => c.x),
    curves.flatMap((c) => c.y),
    options,
    names,
  );
  const marks = curves.map((curve, index) => {
    const draw = (points: Points, opacity: number): string =>
      element('path', {
        d: pathOf(axes, points),
        fill: 'none',
        stroke: colourOf(index),
        'stroke-width': 1.8,
        'stroke-opacity': opacity,
        'stroke-linejoin': 'round',
      });
    const hasTrend = series[index]?.trend === true && curve.y.length >= MIN_TREND_POINTS;
    return hasTrend ? draw(curve, 0.3) + draw(trendOf(curve), 1) : draw(curve, 1);
  });
  const summary = curves.map(({ y }, index) => `${names[index] ?? ''}: ${describe(y)}`);
  const title = options.title ?? 'line chart';
  return new Figure(axes.draw(marks.join(''), title), `${title}\n${summary.join('\n')}`);
}

function describe(y: readonly number[]): string {
  const { min, max } = rangeOf(y);
  const last = y.at(-1);
  const end = last === undefined ? '' : `, last ${tickLabel(Number(last.toPrecision(4)))}`;
  return `${String(y.length)} points, ${tickLabel(Number(min.toPrecision(4)))} … ${tickLabel(Number(max.toPrecision(4)))}${end}`;
}

export interface ScatterOptions extends AxesOptions {
  /** Group of each point: one colour a group. */
  readonly groups?: ArrayLike<number | string>;
}

/** Points in the plane. */
export function scatter(x: Values, y: Values, options: ScatterOptions = {}): Figure {
  const points = pointsOf({ x, y });
  const groups = options.groups === undefined ? [] : Array.from(options.groups, String);
  const names = [...new Set(groups)].sort();
  const axes = new Axes(points.x, points.y, options, names);
  const marks = points.x.map((value, i) =>
    element('circle', {
      cx: axes.x(value),
      cy: axes.y(points.y[i] ?? NaN),
      r: 3,
      fill: colourOf(Math.max(0, names.indexOf(groups[i] ?? ''))),
      'fill-opacity': 0.7,
    }),
  );
  const title = options.title ?? 'scatter plot';
  return new Figure(
    axes.draw(marks.join(''), title),
    `${title}: ${String(points.x.length)} points`,
  );
}

export interface BarsOptions {
  readonly title?: string;
  readonly width?: number;
}

const BAR = { row: 22, label: 120, value: 60, top: 28 } as const;

/** Horizontal bars with their values; bars start at zero. */
export function bars(
  labels: readonly (string | number)[],
  values: Values,
  options: BarsOptions = {},
): Figure {
  const numbers = numbersOf(values);
  if (numbers.length !== labels.length) {
    throw new ShapeError(
      `plot.bars: ${String(labels.length)} labels for ${String(numbers.length)} values; expected as many`,
    );
  }
  const { title = '', width = 560 } = options;
  const { min, max } = rangeOf([...numbers, 0]);
  const room = width - BAR.label - BAR.value;
  const place = (value: number): number => BAR.label + ((value - min) / (max - min)) * room;
  const rows = numbers.map((value, i) => {
    const y = BAR.top + i * BAR.row;
    const [from, to] = [place(Math.min(0, value)), place(Math.max(0, value))];
    const bar = element('rect', {
      x: from,
      y,
      width: Math.max(1, to - from),
      height: BAR.row - 6,
      rx: 2,
      fill: colourOf(0),
    });
    const name = label(String(labels[i]), BAR.label - 8, y + 12, { 'text-anchor': 'end' });
    return (
      name + bar + label(tickLabel(Number(value.toPrecision(4))), to + 6, y + 12, { opacity: 0.8 })
    );
  });
  const head =
    title === '' ? '' : label(title, 0, 16, { 'font-size': 13, 'font-weight': 600, fill: INK });
  const height = BAR.top + numbers.length * BAR.row + 4;
  const lines = numbers.map(
    (value, i) => `${String(labels[i])}: ${tickLabel(Number(value.toPrecision(4)))}`,
  );
  return new Figure(
    svg(width, height, title === '' ? 'bar chart' : title, head + rows.join('')),
    [title, ...lines].filter((text) => text !== '').join('\n'),
  );
}
