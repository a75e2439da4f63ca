/** @file Oracle rows: reductions, softmax, normalisation and running sums. */
import { sizeOf } from '@ravenlab/protocol';
import type { Value, Values } from './arrays.js';
import { linesAlong, makeValues, reductionGroups, valueAt } from './arrays.js';
import type { OracleRows } from './oracleRow.js';
import { arg } from './oracleRow.js';

const total = (values: readonly number[]): number => values.reduce((sum, x) => sum + x, 0);
const average = (values: readonly number[]): number => total(values) / values.length;

function squaredDeviations(values: readonly number[]): number {
  const mean = average(values);
  return total(values.map((x) => (x - mean) ** 2));
}

const largest = (values: readonly number[]): number =>
  values.reduce((best, x) => (Number.isNaN(best) || best > x ? best : x), -Infinity);

/** One output element from the list of elements that reduce to it. */
function reduceWith(
  x: Value,
  axes: readonly number[],
  f: (values: readonly number[]) => number,
): Values {
  const groups = reductionGroups(x.type.shape, axes);
  const data = makeValues(x.type.dtype, groups.length);
  groups.forEach((group, index) => {
    data[index] = f(group.map((position) => valueAt(x.data, position)));
  });
  return data;
}

/** Replaces every group of elements by as many values. */
function mapGroups(
  x: Value,
  groups: readonly (readonly number[])[],
  f: (values: readonly number[], group: readonly number[]) => readonly number[],
): Values {
  const data = makeValues(x.type.dtype, sizeOf(x.type.shape));
  for (const group of groups) {
    const values = f(
      group.map((position) => valueAt(x.data, position)),
      group,
    );
    group.forEach((position, k) => (data[position] = values[k] ?? NaN));
  }
  return data;
}

function logSumExp(values: readonly number[]): number {
  const top = largest(values);
  return top + Math.log(total(values.map((x) => Math.exp(x - top))));
}

function runningSum(values: readonly number[], exclusive: boolean): number[] {
  let sum = 0;
  return values.map((x) => {
    const before = sum;
    sum += x;
    return exclusive ? before : sum;
  });
}

// x̂ = (x - m)/σ;  dx = (dy - mean(dy) - x̂·mean(dy·x̂)) / σ
function normalizeGradient(
  values: readonly number[],
  dy: readonly number[],
  epsilon: number,
): number[] {
  const mean = average(values);
  const deviation = Math.sqrt(squaredDeviations(values) / values.length + epsilon);
  const unit = values.map((x) => (x - mean) / deviation);
  const meanDy = average(dy);
  const meanProduct = average(dy.map((d, i) => d * (unit[i] ?? NaN)));
  return dy.map((d, i) => (d - meanDy - (unit[i] ?? NaN) * meanProduct) / deviation);
}

export const REDUCTION_ORACLE = {
  sum: (inputs, { axes }) => reduceWith(arg(inputs, 0), axes, total),
  mean: (inputs, { axes, count }) =>
    reduceWith(arg(inputs, 0), axes, (values) => total(values) / count),
  variance: (inputs, { axes, count }) =>
    reduceWith(arg(inputs, 0), axes, (values) => squaredDeviations(values) / count),
  reduceMax: (inputs, { axes }) => reduceWith(arg(inputs, 0), axes, largest),
  reduceMin: (inputs, { axes }) =>
    reduceWith(arg(inputs, 0), axes, (values) => -largest(values.map((x) => -x))),
  argMax: (inputs, { axis }) => {
    const x = arg(inputs, 0);
    return Int32Array.from(linesAlong(x.type.shape, axis), (line) => {
      const values = line.map((position) => valueAt(x.data, position));
      return values.indexOf(Math.max(...values));
    });
  },
  cumsum: (inputs, { axis, exclusive, reverse }) => {
    const x = arg(inputs, 0);
    const lines = linesAlong(x.type.shape, axis).map((line) => (reverse ? line.reverse() : line));
    return mapGroups(x, lines, (values) => runningSum(values, exclusive));
  },
  softmax: (inputs, { axis }) => {
    const x = arg(inputs, 0);
    return mapGroups(x, linesAlong(x.type.shape, axis), (values) => {
      const scale = logSumExp(values);
      return values.map((v) => Math.exp(v - scale));
    });
  },
  logSoftmax: (inputs, { axis }) => {
    const x = arg(inputs, 0);
    return mapGroups(x, linesAlong(x.type.shape, axis), (values) => {
      const scale = logSumExp(values);
      return values.map((v) => v - scale);
    });
  },
  normalize: (inputs, { axes, epsilon }) => {
    const x = arg(inputs, 0);
    return mapGroups(x, reductionGroups(x.type.shape, axes), (values) => {
      const mean = average(values);
      const deviation = Math.sqrt(squaredDeviations(values) / values.length + epsilon);
      return values.map((v) => (v - mean) / deviation);
    });
  },
  normalizeGrad: (inputs, { axes, epsilon }) => {
    const x = arg(inputs, 0);
    const dy = arg(inputs, 1);
    return mapGroups(x, reductionGroups(x.type.shape, axes), (values, group) =>
      normalizeGradient(
        values,
        group.map((position) => valueAt(dy.data, position)),
        epsilon,
      ),
    );
  },
} satisfies Partial<OracleRows>;
