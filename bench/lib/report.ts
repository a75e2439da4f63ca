/** @file What a bench prints: a table for people, then one JSON line for programs, always last. */
import { availableParallelism, cpus, loadavg } from 'node:os';
import type { Summary } from './stats.js';

/** One line of the table. */
export interface Row {
  readonly name: string;
  readonly summary: Summary;
}

/** The comparison a bench exists for: ours against a baseline that ran beside it. */
export interface Verdict {
  /** What is compared, with its unit last, e.g. `p50Ms` or `unitsPerSecond`. */
  readonly metric: string;
  readonly value: number;
  readonly baseline: { readonly name: string; readonly value: number };
  /** The bar it must hold, when it has one: `value <= atMost`, `value >= atLeast`. */
  readonly atMost?: number;
  readonly atLeast?: number;
}

/** A verdict with its ratio (value / baseline) and whether its bar held; null when it has none. */
export interface JudgedVerdict extends Verdict {
  readonly ratio: number;
  readonly isHeld: boolean | null;
}

/** Adds the ratio and holds the value against its bar. */
export function judge(verdict: Verdict): JudgedVerdict {
  const { value, atMost, atLeast, baseline } = verdict;
  const hasBar = atMost !== undefined || atLeast !== undefined;
  const isHeld = hasBar ? value <= (atMost ?? Infinity) && value >= (atLeast ?? -Infinity) : null;
  return { ...verdict, ratio: value / baseline.value, isHeld };
}

const SCALES = [
  [1e9, 's'],
  [1e6, 'ms'],
  [1e3, 'us'],
  [1, 'ns'],
] as const;

/** A time with three significant digits in the unit that suits it, e.g. `1.24 ms`. */
export function formatNs(ns: number): string {
  const [size, unit] = SCALES.find(([scale]) => Math.abs(ns) >= scale) ?? SCALES[3];
  return `${(ns / size).toPrecision(3)} ${unit}`;
}

const COLUMNS = ['p50Ns', 'p95Ns', 'p99Ns', 'maxNs'] as const;

/** The table of samples as aligned text, one row per contestant. */
export function formatTable(rows: readonly Row[]): string {
  const header = ['', ...COLUMNS.map((key) => key.slice(0, -2)), 'n'];
  const cells = rows.map(({ name, summary }) => [
    name,
    ...COLUMNS.map((key) => formatNs(summary[key])),
    String(summary.count),
  ]);
  const table = [header, ...cells];
  const widths = header.map((_, column) => Math.max(...table.map((r) => r[column]?.length ?? 0)));
  const align = (row: readonly string[]): string =>
    row
      .map((cell, column) => {
        const width = widths[column] ?? 0;
        return column === 0 ? cell.padEnd(width) : cell.padStart(width);
      })
      .join('  ');
  return table.map((row) => align(row).trimEnd()).join('\n');
}

function formatVerdict({ metric, value, baseline, ratio, isHeld, atMost, atLeast }: JudgedVerdict) {
  const bars = [
    ...(atMost === undefined ? [] : [`at most ${atMost}`]),
    ...(atLeast === undefined ? [] : [`at least ${atLeast}`]),
  ];
  const held = isHeld === null ? '' : `  bar: ${bars.join(', ')}: ${isHeld ? 'held' : 'MISSED'}`;
  const figures = `${value.toPrecision(4)} against ${baseline.value.toPrecision(4)} (${baseline.name})`;
  return `${metric}: ${figures}, ratio ${ratio.toPrecision(3)}${held}`;
}

/** The machine a figure belongs to and how busy it was (load of the last minute); without them a figure means nothing. */
function machine(): { cpu: string; cores: number; node: string; load: number } {
  return {
    cpu: cpus()[0]?.model.trim() ?? 'unknown',
    cores: availableParallelism(),
    node: process.version,
    load: loadavg()[0] ?? 0,
  };
}

/**
 * Prints the table, the verdicts and the JSON line, and sets the exit code when a bar was missed.
 * @param details plain values that belong to the run, e.g. model sizes; they go into the JSON line
 */
export function report(
  bench: string,
  rows: readonly Row[],
  verdicts: readonly Verdict[],
  details: Readonly<Record<string, string | number | boolean>> = {},
): void {
  const judged = verdicts.map(judge);
  const where = machine();
  const load = `load ${where.load.toFixed(1)} on ${where.cores} cores`;
  const lines = [bench, formatTable(rows), load, ...judged.map(formatVerdict)];
  console.log(lines.join('\n'));
  console.log(JSON.stringify({ bench, verdicts: judged, rows, details, machine: where }));
  if (judged.some((verdict) => verdict.isHeld === false)) process.exitCode = 1;
}
