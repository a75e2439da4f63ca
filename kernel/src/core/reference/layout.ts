/** @file Oracle rows that move, repeat or select elements. */
import { sizeOf, stridesOf } from '@ravenlab/protocol';
import {
  broadcastStrides,
  flatten,
  forEachIndex,
  makeValues,
  mapBroadcast,
  moveElements,
  valueAt,
} from './arrays.js';
import type { OracleRows } from './oracleRow.js';
import { arg } from './oracleRow.js';

export const LAYOUT_ORACLE = {
  reshape: (inputs) => arg(inputs, 0).data.slice(),
  transpose: (inputs, { perm }, out) =>
    moveElements(out, arg(inputs, 0), (index) => {
      const source = perm.map(() => 0);
      perm.forEach((axis, k) => (source[axis] = index[k] ?? 0));
      return source;
    }),
  broadcastTo: (inputs, _params, out) => mapBroadcast(out, inputs, (x = NaN) => x),
  concat: (inputs, { axis }, out) => {
    const data = makeValues(out.dtype, sizeOf(out.shape));
    const strides = stridesOf(out.shape);
    let offset = 0;
    for (const input of inputs) {
      const start = offset * (strides[axis] ?? 1);
      forEachIndex(input.type.shape, (index, flat) => {
        data[start + flatten(index, strides)] = valueAt(input.data, flat);
      });
      offset += input.type.shape[axis] ?? 0;
    }
    return data;
  },
  slice: (inputs, { begin, step }, out) =>
    moveElements(out, arg(inputs, 0), (index) =>
      index.map((position, axis) => (begin[axis] ?? 0) + position * (step[axis] ?? 1)),
    ),
  pad: (inputs, { before, value }, out) => {
    const { shape } = arg(inputs, 0).type;
    const read = (index: readonly number[]): readonly number[] | null => {
      const source = index.map((position, axis) => position - (before[axis] ?? 0));
      return source.every((p, axis) => p >= 0 && p < (shape[axis] ?? 0)) ? source : null;
    };
    return moveElements(out, arg(inputs, 0), read, value);
  },
  tile: (inputs, _params, out) => {
    const { shape } = arg(inputs, 0).type;
    return moveElements(out, arg(inputs, 0), (index) =>
      index.map((position, axis) => position % (shape[axis] ?? 1)),
    );
  },
  reverse: (inputs, { axes }, out) =>
    moveElements(out, arg(inputs, 0), (index) =>
      index.map((position, axis) =>
        axes.includes(axis) ? (out.shape[axis] ?? 0) - 1 - position : position,
      ),
    ),
  gather: (inputs, { axis }, out) => {
    const x = arg(inputs, 0);
    const indices = arg(inputs, 1);
    const rank = indices.type.shape.length;
    const strides = stridesOf(indices.type.shape);
    return moveElements(out, x, (index) => {
      const row = valueAt(indices.data, flatten(index.slice(axis, axis + rank), strides));
      if (row < 0 || row >= (x.type.shape[axis] ?? 0)) return null;
      return [...index.slice(0, axis), row, ...index.slice(axis + rank)];
    });
  },
  scatterAdd: (inputs, { size }, out) => {
    const indices = arg(inputs, 0);
    const updates = arg(inputs, 1);
    const data = new Float64Array(sizeOf(out.shape));
    const width = sizeOf(out.shape.slice(1));
    indices.data.forEach((row, position) => {
      if (row < 0 || row >= size) return;
      for (let k = 0; k < width; k++) {
        const sum = (data[row * width + k] ?? 0) + valueAt(updates.data, position * width + k);
        data[row * width + k] = sum;
      }
    });
    return data;
  },
  oneHot: (inputs, { depth }, out) => {
    const indices = arg(inputs, 0);
    const data = makeValues(out.dtype, sizeOf(out.shape));
    const strides = broadcastStrides(indices.type.shape, indices.type.shape.length);
    forEachIndex(out.shape, (index, flat) => {
      const row = valueAt(indices.data, flatten(index.slice(0, -1), strides));
      data[flat] = Number(row === index[index.length - 1] && row < depth);
    });
    return data;
  },
} satisfies Partial<OracleRows>;
