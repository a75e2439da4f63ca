/** @file A chart area with axes: maps values to pixels and draws frame, grid, ticks and legend. */
import type { Range } from './svg.js';
import {
  colourOf,
  element,
  FAINT,
  label,
  logTicks,
  positiveRangeOf,
  rangeOf,
  svg,
  tickLabel,
  ticks,
} from './svg.js';

export interface AxesOptions {
  readonly title?: string;
  readonly xLabel?: string;
  readonly yLabel?: string;
  /** Pixels. */
  readonly width?: number;
  readonly height?: number;
  /** Logarithmic y axis; values that are not positive are left out. */
  readonly logY?: boolean;
}

const MARGIN = { top: 12, right: 16, bottom: 40, left: 56 } as const;
const TITLE_PX = 20;
const LEGEND_PX = 18;

/** Linear or logarithmic, from values to pixels. */
export type Scale = (value: number) => number;

export class Axes {
  readonly x: Scale;
  readonly y: Scale;
  readonly bottom: number;
  private readonly options: AxesOptions;
  private readonly width: number;
  private readonly height: number;
  private readonly top: number;
  private readonly legend: readonly string[];
  private readonly xTicks: readonly number[];
  private readonly yTicks: readonly number[];

  constructor(
    xs: Iterable<number>,
    ys: Iterable<number>,
    options: AxesOptions,
    legend: readonly string[] = [],
  ) {
    this.options = options;
    this.legend = legend;
    this.width = options.width ?? 560;
    this.height = options.height ?? 260;
    const hasTitle = (options.title ?? '') !== '';
    this.top = MARGIN.top + (hasTitle ? TITLE_PX : 0) + (legend.length > 1 ? LEGEND_PX : 0);
    this.bottom = this.height - MARGIN.bottom;
    const isLog = options.logY === true;
    const xRange = rangeOf(xs);
    const yRange = isLog ? positiveRangeOf([...ys]) : padded(rangeOf(ys));
    this.xTicks = ticks(xRange, 6);
    this.yTicks = isLog ? logTicks(yRange) : ticks(yRange, 5);
    this.x = linear(xRange, MARGIN.left, this.width - MARGIN.right);
    const place = linear(isLog ? logged(yRange) : yRange, this.bottom, this.top);
    this.y = isLog ? (value) => place(Math.log10(value)) : place;
  }

  /** The chart with `marks` drawn inside. */
  draw(marks: string, title: string): string {
    const parts = [this.grid(), this.caption(), this.drawLegend(), marks];
    return svg(this.width, this.height, title, parts.join(''));
  }

  private grid(): string {
    const right = this.width - MARGIN.right;
    const rows = this.yTicks.map((value) => {
      const y = this.y(value);
      const rule = element('line', {
        x1: MARGIN.left,
        x2: right,
        y1: y,
        y2: y,
        stroke: FAINT,
        'stroke-opacity': 0.5,
      });
      return rule + label(tickLabel(value), MARGIN.left - 8, y + 4, { 'text-anchor': 'end' });
    });
    const columns = this.xTicks.map((value) =>
      label(tickLabel(value), this.x(value), this.bottom + 16, { 'text-anchor': 'middle' }),
    );
    const base = element('line', {
      x1: MARGIN.left,
      x2: right,
      y1: this.bottom,
      y2: this.bottom,
      stroke: FAINT,
    });
    return [...rows, ...columns, base].join('');
  }

  private caption(): string {
    const { title = '', xLabel = '', yLabel = '' } = this.options;
    const middle = (MARGIN.left + this.width - MARGIN.right) / 2;
    const parts: string[] = [];
    if (title !== '') {
      parts.push(label(title, MARGIN.left, 16, { 'font-size': 13, 'font-weight': 600 }));
    }
    if (xLabel !== '') {
      parts.push(
        label(xLabel, middle, this.height - 6, { 'text-anchor': 'middle', opacity: 0.75 }),
      );
    }
    if (yLabel !== '') {
      const y = (this.top + this.bottom) / 2;
      const turn = `rotate(-90 12 ${String(Math.round(y))})`;
      parts.push(
        label(yLabel, 12, Math.round(y), {
          'text-anchor': 'middle',
          transform: turn,
          opacity: 0.75,
        }),
      );
    }
    return parts.join('');
  }

  private drawLegend(): string {
    if (this.legend.length < 2) return '';
    let x: number = MARGIN.left;
    const y = this.top - 10;
    return this.legend
      .map((name, index) => {
        const mark = element('rect', {
          x,
          y: y - 8,
          width: 12,
          height: 4,
          rx: 2,
          fill: colourOf(index),
        });
        const text = label(name, x + 17, y - 2);
        x += 34 + name.length * 6.2;
        return mark + text;
      })
      .join('');
  }
}

function linear({ min, max }: Range, from: number, to: number): Scale {
  return (value) => from + ((value - min) / (max - min)) * (to - from);
}

function logged({ min, max }: Range): Range {
  return { min: Math.log10(min), max: Math.log10(max) };
}

function padded({ min, max }: Range): Range {
  const margin = (max - min) * 0.04;
  return { min: min - (min === 0 ? 0 : margin), max: max + margin };
}
