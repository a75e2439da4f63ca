/** @file ONNX emission of the ops that move, repeat or select elements. */
import { sameShape, sizeOf } from '@ravenlab/protocol';
import type { Emit, EmitRows } from './emitRow.js';
import { operand } from './emitRow.js';
import { select } from './emitElementwise.js';
import type { ModelBuilder, Operand, ValueName } from './modelBuilder.js';

type LayoutOp =
  | 'reshape'
  | 'transpose'
  | 'broadcastTo'
  | 'concat'
  | 'slice'
  | 'pad'
  | 'tile'
  | 'reverse'
  | 'gather'
  | 'scatterAdd'
  | 'oneHot';

/** Below every begin of a reversed slice: "up to and including element 0". */
export const BEFORE_FIRST = -(2 ** 31);

const slice: Emit<'slice'> = (inputs, { graph, params, type }) => {
  const x = operand(inputs, 0);
  if (sameShape(x.type.shape, type.shape)) return x.name;
  const axes = x.type.shape
    .map((_, axis) => axis)
    .filter((axis) => {
      const whole = params.begin[axis] === 0 && params.end[axis] === x.type.shape[axis];
      return !(whole && params.step[axis] === 1);
    });
  const pick = (list: readonly number[]): ValueName =>
    graph.int64s(axes.map((axis) => list[axis] ?? 0));
  return graph.node('Slice', [
    x.name,
    pick(params.begin),
    pick(params.end),
    graph.int64s(axes),
    pick(params.step),
  ]);
};

const reverse: Emit<'reverse'> = (inputs, { graph, params }) => {
  const x = operand(inputs, 0);
  if (params.axes.length === 0) return x.name;
  return graph.node('Slice', [
    x.name,
    graph.int64s(params.axes.map((axis) => (x.type.shape[axis] ?? 1) - 1)),
    graph.int64s(params.axes.map(() => BEFORE_FIRST)),
    graph.int64s(params.axes),
    graph.int64s(params.axes.map(() => -1)),
  ]);
};

/** bool, shaped like `indices`: inside 0 … size-1. */
function isInRange(graph: ModelBuilder, indices: ValueName, size: number): ValueName {
  return graph.node('And', [
    graph.node('GreaterOrEqual', [indices, graph.scalar('int32', 0)]),
    graph.node('Less', [indices, graph.scalar('int32', size)]),
  ]);
}

/** Indices that are safe to address with: those outside point at 0 and are masked by the caller. */
function clampIndices(graph: ModelBuilder, indices: ValueName, size: number): ValueName {
  return graph.node('Where', [isInRange(graph, indices, size), indices, graph.scalar('int32', 0)]);
}

/** Mask over leading axes, reshaped so that it broadcasts over `trailing` more axes. */
function broadcastMask(
  graph: ModelBuilder,
  mask: ValueName,
  shape: readonly number[],
  trailing: number,
): ValueName {
  if (trailing === 0) return mask;
  return graph.node('Reshape', [
    mask,
    graph.int64s([...shape, ...new Array<number>(trailing).fill(1)]),
  ]);
}

function zero(graph: ModelBuilder, like: Operand): Operand {
  const { dtype } = like.type;
  return { name: graph.scalar(dtype, 0), type: { dtype, shape: [] } };
}

// ONNX Gather wraps negative indices and fails on large ones; ours gives zeros for both.
const gather: Emit<'gather'> = (inputs, { graph, params, type }) => {
  const x = operand(inputs, 0);
  const indices = operand(inputs, 1);
  const size = x.type.shape[params.axis] ?? 0;
  const rows = graph.node('Gather', [x.name, clampIndices(graph, indices.name, size)], {
    axis: params.axis,
  });
  const mask = broadcastMask(
    graph,
    isInRange(graph, indices.name, size),
    indices.type.shape,
    x.type.shape.length - params.axis - 1,
  );
  return select(graph, mask, { name: rows, type }, zero(graph, x));
};

/**
 * Sums elements by ScatterElements over flat indices, which is sequential and therefore adds in order. ScatterND with
 * reduction "add" is not an option: ONNX Runtime 1.30 runs it on all threads without a lock, and rows with equal index
 * lose updates. Flat, because the kernel counts coordinates per element: ten times slower with two axes.
 */
const scatterAdd: Emit<'scatterAdd'> = (inputs, { graph, params, type }) => {
  const indices = operand(inputs, 0);
  const updates = operand(inputs, 1);
  const rank = indices.type.shape.length;
  const rows = sizeOf(indices.type.shape);
  const width = sizeOf(updates.type.shape) / rows;
  const mask = broadcastMask(
    graph,
    isInRange(graph, indices.name, params.size),
    indices.type.shape,
    updates.type.shape.length - rank,
  );
  const kept = select(graph, mask, updates, zero(graph, updates));
  const column = graph.node('Reshape', [
    clampIndices(graph, indices.name, params.size),
    graph.int64s([rows, 1]),
  ]);
  const sums = graph.node(
    'ScatterElements',
    [
      graph.filled({ dtype: 'float32', shape: [params.size * width] }, 0),
      graph.node('Reshape', [flatRows(graph, column, width), graph.int64s([-1])]),
      graph.node('Reshape', [kept, graph.int64s([-1])]),
    ],
    { axis: 0, reduction: 'add' },
  );
  return graph.node('Reshape', [sums, graph.int64s(type.shape)]);
};

/** int32 [rows, 1] → [rows, width]: row · width + column, the flat index of every element of the rows. */
function flatRows(graph: ModelBuilder, rows: ValueName, width: number): ValueName {
  if (width === 1) return rows;
  const columns = graph.node('Range', [
    graph.scalar('int32', 0),
    graph.scalar('int32', width),
    graph.scalar('int32', 1),
  ]);
  return graph.node('Add', [graph.node('Mul', [rows, graph.scalar('int32', width)]), columns]);
}

const oneHot: Emit<'oneHot'> = (inputs, { graph, params }) => {
  const indices = operand(inputs, 0);
  const column = graph.node('Reshape', [indices.name, graph.int64s([...indices.type.shape, 1])]);
  const classes = graph.node('Range', [
    graph.scalar('int32', 0),
    graph.scalar('int32', params.depth),
    graph.scalar('int32', 1),
  ]);
  return graph.node('Cast', [graph.node('Equal', [column, classes])], { to: 1 });
};

export const EMIT_LAYOUT: EmitRows<LayoutOp> = {
  reshape: (inputs, { graph, params }) => reshaped(graph, operand(inputs, 0), params.shape),
  transpose: (inputs, { graph, params }) =>
    graph.node('Transpose', [operand(inputs, 0).name], { perm: params.perm }),
  broadcastTo: (inputs, { graph, params }) => {
    const x = operand(inputs, 0);
    // Same number of elements: only leading ones are added, which moves nothing.
    if (sizeOf(params.shape) === sizeOf(x.type.shape)) return reshaped(graph, x, params.shape);
    return graph.node('Expand', [x.name, graph.int64s(params.shape)]);
  },
  concat: (inputs, { graph, params }) =>
    graph.node(
      'Concat',
      inputs.map((input) => input.name),
      { axis: params.axis },
    ),
  slice,
  pad: (inputs, { graph, params }) => {
    const x = operand(inputs, 0);
    return graph.node('Pad', [
      x.name,
      graph.int64s([...params.before, ...params.after]),
      graph.scalar(x.type.dtype, params.value),
    ]);
  },
  tile: (inputs, { graph, params }) =>
    graph.node('Tile', [operand(inputs, 0).name, graph.int64s(params.repeats)]),
  reverse,
  gather,
  scatterAdd,
  oneHot,
};

/** `x` seen with another shape of as many elements. */
export function reshaped(graph: ModelBuilder, x: Operand, shape: readonly number[]): ValueName {
  if (sameShape(x.type.shape, shape)) return x.name;
  return graph.node('Reshape', [x.name, graph.int64s(shape)]);
}
