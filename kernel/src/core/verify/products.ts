/**
 * @file Matrix products and convolutions as the row-by-row products that Freivalds' check reads. Convolutions are products
 * over unfolded input that is never made: each row is gathered when it is asked for.
 */
import type { OpParams, Shape, TensorType } from '@ravenlab/protocol';
import { sizeOf, stridesOf } from '@ravenlab/protocol';
import { broadcastStrides, flatten, forEachIndex } from '../reference/arrays.js';
import type { Product } from './freivalds.js';

type Values = ArrayLike<number>;

/** Inputs and claimed output of one node: row-major values with their types. */
export interface NodeValues<Op extends CheckedOp> {
  readonly params: OpParams[Op];
  readonly inputs: readonly { readonly type: TensorType; readonly data: Values }[];
  readonly output: { readonly type: TensorType; readonly data: Values };
}

/** Ops whose result costs far more to make than to check. */
export const CHECKED_OPS = ['matMul', 'conv2d', 'conv2dGradInput', 'conv2dGradWeight'] as const;
export type CheckedOp = (typeof CHECKED_OPS)[number];

type Reader<Op extends CheckedOp> = (node: NodeValues<Op>) => Product[];

const at = (data: Values, index: number): number => data[index] ?? 0;
const extent = (shape: Shape, axis: number): number => shape[axis] ?? 1;

/** A matrix in an array: element (i, j) at start + i·rowStride + j·columnStride. */
interface Matrix {
  readonly data: Values;
  readonly start: number;
  readonly rowStride: number;
  readonly columnStride: number;
}

function rowOf({ data, start, rowStride, columnStride }: Matrix): Product['left'] {
  return (row, into) => {
    let from = start + row * rowStride;
    for (let column = 0; column < into.length; column++, from += columnStride) {
      into[column] = at(data, from);
    }
  };
}

const matMul: Reader<'matMul'> = ({ params, inputs: [a, b], output }) => {
  if (a === undefined || b === undefined) return [];
  const { shape } = output.type;
  const rank = shape.length;
  const stridesA = matrixStrides(a.type.shape, rank, params.transposeA);
  const stridesB = matrixStrides(b.type.shape, rank, params.transposeB);
  const stridesC = stridesOf(shape);
  const rows = extent(shape, rank - 2);
  const columns = extent(shape, rank - 1);
  const inner = extent(a.type.shape, a.type.shape.length - (params.transposeA ? 2 : 1));
  const products: Product[] = [];
  const matrixAt = (data: Values, index: readonly number[], strides: readonly number[]) =>
    rowOf({
      data,
      start: flatten(index, strides),
      rowStride: strides[rank - 2] ?? 0,
      columnStride: strides[rank - 1] ?? 0,
    });
  forEachIndex(shape.slice(0, -2), (index) => {
    products.push({
      ...{ rows, inner, columns },
      left: matrixAt(a.data, index, stridesA),
      right: matrixAt(b.data, index, stridesB),
      result: matrixAt(output.data, index, stridesC),
    });
  });
  return products;
};

/** Batch axes broadcast, matrix axes never do. */
function matrixStrides(shape: Shape, rank: number, isTransposed: boolean): number[] {
  const own = stridesOf(shape);
  const strides = broadcastStrides(shape, rank);
  strides[rank - 2] = own[shape.length - 2] ?? 0;
  strides[rank - 1] = own[shape.length - 1] ?? 0;
  if (isTransposed) strides.push(strides.pop() ?? 0, strides.pop() ?? 0);
  return strides;
}

interface Window {
  readonly stride: readonly number[];
  readonly padding: readonly number[];
  readonly dilation: readonly number[];
}

/** The three tensors of a convolution and the sizes that its products have. */
interface Conv {
  readonly window: Window;
  readonly groups: number;
  readonly x: Shape;
  readonly w: Shape;
  readonly y: Shape;
}

/** Taps of a kernel in row-major order of (channel of the group, row, column). */
function patchRow(conv: Conv, data: Values, group: number): Product['left'] {
  const { window, x, w, y } = conv;
  const [sb = 0, sc = 0, sh = 0] = stridesOf(x);
  const [channels, kh, kw] = [extent(w, 1), extent(w, 2), extent(w, 3)];
  const [height, width] = [extent(x, 2), extent(x, 3)];
  const area = extent(y, 2) * extent(y, 3);
  return (row, into) => {
    const inImage = row % area;
    const top =
      Math.floor(inImage / extent(y, 3)) * (window.stride[0] ?? 1) - (window.padding[0] ?? 0);
    const first = (inImage % extent(y, 3)) * (window.stride[1] ?? 1) - (window.padding[1] ?? 0);
    const image = Math.floor(row / area) * sb + group * channels * sc;
    let to = 0;
    for (let c = 0; c < channels; c++) {
      for (let i = 0; i < kh; i++) {
        const h = top + i * (window.dilation[0] ?? 1);
        for (let j = 0; j < kw; j++, to++) {
          const v = first + j * (window.dilation[1] ?? 1);
          const isInside = h >= 0 && h < height && v >= 0 && v < width;
          into[to] = isInside ? at(data, image + c * sc + h * sh + v) : 0;
        }
      }
    }
  };
}

/** What of the output each input position went into: (output channel of the group, tap) for every row (image, position). */
function scatterRow(conv: Conv, data: Values, group: number): Product['left'] {
  const { window, x, w, y, groups } = conv;
  const [sb = 0, so = 0, sh = 0] = stridesOf(y);
  const [perGroup, kh, kw] = [extent(w, 0) / groups, extent(w, 2), extent(w, 3)];
  const area = extent(x, 2) * extent(x, 3);
  const reached = (position: number, tap: number, axis: 0 | 1): number => {
    const numerator = position + (window.padding[axis] ?? 0) - tap * (window.dilation[axis] ?? 1);
    const stride = window.stride[axis] ?? 1;
    const index = numerator / stride;
    return numerator % stride === 0 && index >= 0 && index < extent(y, axis + 2) ? index : -1;
  };
  return (row, into) => {
    const inImage = row % area;
    const h = Math.floor(inImage / extent(x, 3));
    const v = inImage % extent(x, 3);
    const image = Math.floor(row / area) * sb + group * perGroup * so;
    let to = 0;
    for (let o = 0; o < perGroup; o++) {
      for (let i = 0; i < kh; i++) {
        const r = reached(h, i, 0);
        for (let j = 0; j < kw; j++, to++) {
          const c = reached(v, j, 1);
          into[to] = r < 0 || c < 0 ? 0 : at(data, image + o * so + r * sh + c);
        }
      }
    }
  };
}

/** Rows (image, position) of a `[B, C, H, W]` tensor, columns the channels of a group. */
function positionRow(
  shape: Shape,
  data: Values,
  group: number,
  channels: number,
): Product['result'] {
  const [sb = 0, sc = 0] = stridesOf(shape);
  const area = extent(shape, 2) * extent(shape, 3);
  return (row, into) => {
    let from = Math.floor(row / area) * sb + group * channels * sc + (row % area);
    for (let c = 0; c < into.length; c++, from += sc) into[c] = at(data, from);
  };
}

function eachGroup(groups: number, make: (group: number) => Product): Product[] {
  return Array.from({ length: groups }, (_none, group) => make(group));
}

const conv2d: Reader<'conv2d'> = ({ params, inputs: [x, w], output }) => {
  if (x === undefined || w === undefined) return [];
  const conv = {
    window: params,
    groups: params.groups,
    x: x.type.shape,
    w: w.type.shape,
    y: output.type.shape,
  };
  const columns = extent(conv.w, 0) / conv.groups;
  const inner = sizeOf(conv.w.slice(1));
  return eachGroup(conv.groups, (group) => ({
    rows: extent(conv.y, 0) * extent(conv.y, 2) * extent(conv.y, 3),
    ...{ inner, columns },
    left: patchRow(conv, x.data, group),
    right: rowOf({
      data: w.data,
      start: group * columns * inner,
      rowStride: 1,
      columnStride: inner,
    }),
    result: positionRow(conv.y, output.data, group, columns),
  }));
};

const conv2dGradInput: Reader<'conv2dGradInput'> = ({ params, inputs: [dy, w], output }) => {
  if (dy === undefined || w === undefined) return [];
  const conv = {
    window: params,
    groups: params.groups,
    x: output.type.shape,
    w: w.type.shape,
    y: dy.type.shape,
  };
  const perGroup = extent(conv.w, 0) / conv.groups;
  const columns = extent(conv.w, 1);
  const taps = extent(conv.w, 2) * extent(conv.w, 3);
  return eachGroup(conv.groups, (group) => ({
    rows: extent(conv.x, 0) * extent(conv.x, 2) * extent(conv.x, 3),
    inner: perGroup * taps,
    columns,
    left: scatterRow(conv, dy.data, group),
    right: (row, into) => {
      const channel = group * perGroup + Math.floor(row / taps);
      const from = channel * columns * taps + (row % taps);
      for (let c = 0; c < columns; c++) into[c] = at(w.data, from + c * taps);
    },
    result: positionRow(conv.x, output.data, group, columns),
  }));
};

const conv2dGradWeight: Reader<'conv2dGradWeight'> = ({ params, inputs: [x, dy], output }) => {
  if (x === undefined || dy === undefined) return [];
  const conv = {
    window: params,
    groups: params.groups,
    x: x.type.shape,
    w: output.type.shape,
    y: dy.type.shape,
  };
  const perGroup = extent(conv.w, 0) / conv.groups;
  const columns = sizeOf(conv.w.slice(1));
  const [sb = 0, so = 0] = stridesOf(conv.y);
  const area = extent(conv.y, 2) * extent(conv.y, 3);
  return eachGroup(conv.groups, (group) => ({
    rows: perGroup,
    inner: extent(conv.y, 0) * area,
    columns,
    left: (row, into) => {
      const from = (group * perGroup + row) * so;
      for (let p = 0; p < into.length; p++) {
        into[p] = at(dy.data, from + Math.floor(p / area) * sb + (p % area));
      }
    },
    right: patchRow(conv, x.data, group),
    result: rowOf({
      data: output.data,
      start: group * perGroup * columns,
      rowStride: columns,
      columnStride: 1,
    }),
  }));
};

const READERS: { readonly [Op in CheckedOp]: Reader<Op> } = {
  matMul,
  conv2d,
  conv2dGradInput,
  conv2dGradWeight,
};

/** The products that a node's output consists of: one a batch entry or group. */
export function productsOf<Op extends CheckedOp>(op: Op, node: NodeValues<Op>): Product[] {
  return READERS[op](node);
}
