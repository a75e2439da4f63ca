/** @file Op rows that move, repeat or select elements. */
import { broadcastShapes, formatShape, sameShape, sizeOf } from '../shape.js';
import type { OpRow } from './row.js';
import {
  at,
  fail,
  noFlops,
  outputSize,
  requireAxes,
  requireDType,
  requireInts,
  requireSameDType,
  requireShape,
  requireValue,
} from './row.js';

const reshape: OpRow<{ readonly shape: 'ints' }> = {
  arity: 1,
  params: { shape: 'ints' },
  infer(inputs, { shape }) {
    const x = at(inputs, 0);
    requireShape('reshape', shape);
    if (sizeOf(shape) !== sizeOf(x.shape)) {
      fail(
        'reshape',
        `${formatShape(x.shape)} has ${String(sizeOf(x.shape))} elements, ${formatShape(shape)} has ${String(sizeOf(shape))}`,
      );
    }
    return { dtype: x.dtype, shape };
  },
  flops: noFlops,
};

/** Output axis i is input axis perm[i]. */
const transpose: OpRow<{ readonly perm: 'ints' }> = {
  arity: 1,
  params: { perm: 'ints' },
  infer(inputs, { perm }) {
    const x = at(inputs, 0);
    const rank = x.shape.length;
    if (
      perm.length !== rank ||
      new Set(perm).size !== rank ||
      perm.some((axis) => !(Number.isInteger(axis) && axis >= 0 && axis < rank))
    ) {
      fail(
        'transpose',
        `perm ${formatShape(perm)} is not a permutation of the axes of ${formatShape(x.shape)}`,
      );
    }
    return { dtype: x.dtype, shape: perm.map((axis) => x.shape[axis] ?? 1) };
  },
  flops: noFlops,
};

const broadcastTo: OpRow<{ readonly shape: 'ints' }> = {
  arity: 1,
  params: { shape: 'ints' },
  infer(inputs, { shape }) {
    const x = at(inputs, 0);
    requireShape('broadcastTo', shape);
    if (!sameShape(broadcastShapes('broadcastTo', x.shape, shape), shape)) {
      fail('broadcastTo', `${formatShape(x.shape)} does not broadcast to ${formatShape(shape)}`);
    }
    return { dtype: x.dtype, shape };
  },
  flops: noFlops,
};

const concat: OpRow<{ readonly axis: 'int' }> = {
  arity: { atLeast: 1 },
  params: { axis: 'int' },
  infer(inputs, { axis }) {
    const first = at(inputs, 0);
    requireAxes('concat', [axis], first.shape.length);
    let extent = 0;
    for (const input of inputs) {
      requireSameDType('concat', first, input);
      const fits =
        input.shape.length === first.shape.length &&
        input.shape.every((size, i) => i === axis || size === first.shape[i]);
      if (!fits) {
        fail(
          'concat',
          `shapes ${formatShape(first.shape)} and ${formatShape(input.shape)} differ outside axis ${String(axis)}`,
        );
      }
      extent += input.shape[axis] ?? 0;
    }
    return {
      dtype: first.dtype,
      shape: first.shape.map((size, i) => (i === axis ? extent : size)),
    };
  },
  flops: noFlops,
};

/** Elements begin[i], begin[i] + step[i], … below end[i]; steps are positive (reverse() turns an axis around). */
const slice: OpRow<{ readonly begin: 'ints'; readonly end: 'ints'; readonly step: 'ints' }> = {
  arity: 1,
  params: { begin: 'ints', end: 'ints', step: 'ints' },
  infer(inputs, { begin, end, step }) {
    const x = at(inputs, 0);
    const rank = x.shape.length;
    if (begin.length !== rank || end.length !== rank || step.length !== rank) {
      fail(
        'slice',
        `begin, end and step need ${String(rank)} values each for ${formatShape(x.shape)}`,
      );
    }
    requireInts('slice', 'begin, end and step', [...begin, ...end, ...step]);
    const shape = x.shape.map((extent, axis) => {
      const b = begin[axis] ?? 0;
      const e = end[axis] ?? 0;
      const s = step[axis] ?? 1;
      if (b < 0 || e < b || e > extent || s < 1) {
        fail(
          'slice',
          `${String(b)}:${String(e)}:${String(s)} is outside axis ${String(axis)} of ${formatShape(x.shape)}; expected 0 ≤ begin ≤ end ≤ ${String(extent)}, step ≥ 1`,
        );
      }
      return Math.ceil((e - b) / s);
    });
    return { dtype: x.dtype, shape };
  },
  flops: noFlops,
};

const pad: OpRow<{ readonly before: 'ints'; readonly after: 'ints'; readonly value: 'float' }> = {
  arity: 1,
  params: { before: 'ints', after: 'ints', value: 'float' },
  infer(inputs, { before, after, value }) {
    const x = at(inputs, 0);
    const rank = x.shape.length;
    if (before.length !== rank || after.length !== rank) {
      fail('pad', `before and after need ${String(rank)} values each for ${formatShape(x.shape)}`);
    }
    requireInts('pad', 'before and after', [...before, ...after]);
    requireValue('pad', x.dtype, value);
    return { dtype: x.dtype, shape: x.shape.map((n, i) => n + (before[i] ?? 0) + (after[i] ?? 0)) };
  },
  flops: noFlops,
};

const tile: OpRow<{ readonly repeats: 'ints' }> = {
  arity: 1,
  params: { repeats: 'ints' },
  infer(inputs, { repeats }) {
    const x = at(inputs, 0);
    if (repeats.length !== x.shape.length) {
      fail(
        'tile',
        `repeats ${formatShape(repeats)} need one value per axis of ${formatShape(x.shape)}`,
      );
    }
    requireInts('tile', 'repeats', repeats, 1);
    return { dtype: x.dtype, shape: x.shape.map((n, i) => n * (repeats[i] ?? 1)) };
  },
  flops: noFlops,
};

const reverse: OpRow<{ readonly axes: 'ints' }> = {
  arity: 1,
  params: { axes: 'ints' },
  infer(inputs, { axes }) {
    const x = at(inputs, 0);
    requireAxes('reverse', axes, x.shape.length);
    return x;
  },
  flops: noFlops,
};

/** x `[..., N, ...]`, int32 indices `I` → x.shape with axis N replaced by I; an index outside 0 … N-1 gives zeros. */
const gather: OpRow<{ readonly axis: 'int' }> = {
  arity: 2,
  params: { axis: 'int' },
  infer(inputs, { axis }) {
    const x = at(inputs, 0);
    const indices = at(inputs, 1);
    requireDType('gather', indices, 'int32');
    requireAxes('gather', [axis], x.shape.length);
    const shape = [...x.shape.slice(0, axis), ...indices.shape, ...x.shape.slice(axis + 1)];
    return { dtype: x.dtype, shape };
  },
  flops: noFlops,
};

/** int32 indices `I`, updates `[...I, ...R]` → `[size, ...R]`: rows with equal index are summed in order; an index outside is dropped. */
const scatterAdd: OpRow<{ readonly size: 'int' }> = {
  arity: 2,
  params: { size: 'int' },
  infer(inputs, { size }) {
    const indices = at(inputs, 0);
    const updates = at(inputs, 1);
    requireDType('scatterAdd', indices, 'int32');
    requireDType('scatterAdd', updates, 'float32');
    const rank = indices.shape.length;
    if (!sameShape(indices.shape, updates.shape.slice(0, rank))) {
      fail(
        'scatterAdd',
        `updates ${formatShape(updates.shape)} must start with the shape of indices ${formatShape(indices.shape)}`,
      );
    }
    requireShape('scatterAdd', [size]);
    return { dtype: 'float32', shape: [size, ...updates.shape.slice(rank)] };
  },
  flops: (inputs) => sizeOf(at(inputs, 1).shape),
};

/** int32 `I` → float32 `[...I, depth]`; an index outside 0 … depth-1 gives a row of zeros. */
const oneHot: OpRow<{ readonly depth: 'int' }> = {
  arity: 1,
  params: { depth: 'int' },
  infer(inputs, { depth }) {
    const indices = at(inputs, 0);
    requireDType('oneHot', indices, 'int32');
    requireInts('oneHot', 'depth', [depth], 1);
    return { dtype: 'float32', shape: [...indices.shape, depth] };
  },
  flops: outputSize,
};

export const LAYOUT_OPS = {
  reshape,
  transpose,
  broadcastTo,
  concat,
  slice,
  pad,
  tile,
  reverse,
  gather,
  scatterAdd,
  oneHot,
} as const;
