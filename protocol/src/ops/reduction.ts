/** @file Op rows: reductions, softmax, normalisation and running sums. */
import type { TensorType } from '../shape.js';
import { formatShape, reducedShape, sizeOf } from '../shape.js';
import type { FieldSchema, OpRow, ParamsOf, Types } from './row.js';
import {
  at,
  fail,
  inputSize,
  requireAxes,
  requireDType,
  requireInts,
  requireNonEmpty,
} from './row.js';

const AXES = { axes: 'ints', keepDims: 'bool' } as const;
const COUNTED = { axes: 'ints', keepDims: 'bool', count: 'int' } as const;

function reduce<S extends typeof AXES>(
  op: string,
  params: S,
  cost: number,
  dtypes: readonly TensorType['dtype'][],
): OpRow<S> {
  return {
    arity: 1,
    params,
    infer(inputs: Types, values: ParamsOf<S> & ParamsOf<typeof AXES>) {
      const x = at(inputs, 0);
      requireDType(op, x, ...dtypes);
      requireAxes(op, values.axes, x.shape.length);
      if ('count' in params) requireCount(op, values);
      if (op === 'reduceMax' || op === 'reduceMin') requireNonEmpty(op, x, values.axes);
      return { dtype: x.dtype, shape: reducedShape(x.shape, values.axes, values.keepDims) };
    },
    flops: (inputs) => cost * inputSize(inputs),
  };
}

function requireCount(op: string, values: ParamsOf<FieldSchema>): void {
  const { count } = values;
  requireInts(op, 'count', typeof count === 'number' ? [count] : [NaN], 1);
}

function alongAxis(op: string, cost: number): OpRow<{ readonly axis: 'int' }> {
  return {
    arity: 1,
    params: { axis: 'int' },
    infer(inputs, { axis }) {
      const x = at(inputs, 0);
      requireDType(op, x, 'float32');
      requireAxes(op, [axis], x.shape.length);
      return x;
    },
    flops: (inputs) => cost * inputSize(inputs),
  };
}

/** int32 index of the first maximum along `axis`; the axis is removed. */
const argMax: OpRow<{ readonly axis: 'int' }> = {
  arity: 1,
  params: { axis: 'int' },
  infer(inputs, { axis }) {
    const x = at(inputs, 0);
    requireDType('argMax', x, 'float32', 'int32');
    requireAxes('argMax', [axis], x.shape.length);
    requireNonEmpty('argMax', x, [axis]);
    return { dtype: 'int32', shape: reducedShape(x.shape, [axis], false) };
  },
  flops: inputSize,
};

/** Running sum along `axis`; `exclusive` leaves the element itself out, `reverse` runs from the end. */
const cumsum: OpRow<{
  readonly axis: 'int';
  readonly exclusive: 'bool';
  readonly reverse: 'bool';
}> = {
  arity: 1,
  params: { axis: 'int', exclusive: 'bool', reverse: 'bool' },
  infer(inputs, { axis }) {
    const x = at(inputs, 0);
    requireDType('cumsum', x, 'float32', 'int32');
    requireAxes('cumsum', [axis], x.shape.length);
    return x;
  },
  flops: inputSize,
};

const NORMALIZE = { axes: 'ints', epsilon: 'float' } as const;

function requireNormalize(op: string, x: TensorType, params: ParamsOf<typeof NORMALIZE>): void {
  requireDType(op, x, 'float32');
  requireAxes(op, params.axes, x.shape.length);
  if (params.axes.length === 0 || sizeOf(x.shape) === 0) {
    fail(
      op,
      `needs at least one axis and one element, got axes ${formatShape(params.axes)} of ${formatShape(x.shape)}`,
    );
  }
  if (!(params.epsilon > 0)) fail(op, `epsilon must be above 0, got ${String(params.epsilon)}`);
}

/**
 * (x - mean) / sqrt(variance + epsilon), biased variance over `axes`. When a normalised axis is the sharded one,
 * the statistics are those of the micro-shard ("ghost" batch norm): they depend on the cut, never on the crowd.
 */
const normalize: OpRow<typeof NORMALIZE> = {
  arity: 1,
  params: NORMALIZE,
  infer(inputs, params) {
    const x = at(inputs, 0);
    requireNormalize('normalize', x, params);
    return x;
  },
  flops: (inputs) => 8 * inputSize(inputs),
};

/** dL/dx of normalize: (x, dy) → x.shape. */
const normalizeGrad: OpRow<typeof NORMALIZE> = {
  arity: 2,
  params: NORMALIZE,
  infer(inputs, params) {
    const x = at(inputs, 0);
    const dy = at(inputs, 1);
    requireNormalize('normalizeGrad', x, params);
    requireDType('normalizeGrad', dy, 'float32');
    if (formatShape(x.shape) !== formatShape(dy.shape)) {
      fail(
        'normalizeGrad',
        `input ${formatShape(x.shape)} and gradient ${formatShape(dy.shape)} differ`,
      );
    }
    return x;
  },
  flops: (inputs) => 14 * inputSize(inputs),
};

export const REDUCTION_OPS = {
  sum: reduce('sum', AXES, 1, ['float32', 'int32']),
  /** sum / count. A whole-batch mean on a micro-shard keeps the count of the whole batch, so that shard sums add up. */
  mean: reduce('mean', COUNTED, 1, ['float32']),
  /** Σ (x - mean of the reduced elements)² / count. */
  variance: reduce('variance', COUNTED, 4, ['float32']),
  reduceMax: reduce('reduceMax', AXES, 1, ['float32', 'int32']),
  reduceMin: reduce('reduceMin', AXES, 1, ['float32', 'int32']),
  argMax,
  cumsum,
  softmax: alongAxis('softmax', 8),
  logSoftmax: alongAxis('logSoftmax', 8),
  normalize,
  normalizeGrad,
} as const;
