/** @file ONNX emission of reductions, softmax, normalisation and running sums. */
import type { Shape } from '@ravenlab/protocol';
import { sizeOf } from '@ravenlab/protocol';
import type { Emit, EmitRows, EmitSite } from './emitRow.js';
import { operand } from './emitRow.js';
import type { ModelBuilder, Operand, ValueName } from './modelBuilder.js';
import { safeSumThreads } from './threadCut.js';

type ReductionOp =
  | 'sum'
  | 'mean'
  | 'variance'
  | 'reduceMax'
  | 'reduceMin'
  | 'argMax'
  | 'cumsum'
  | 'softmax'
  | 'logSoftmax'
  | 'normalize'
  | 'normalizeGrad';

interface Reduction {
  readonly axes: readonly number[];
  readonly keepDims: boolean;
}

/** ONNX reads "no axes" as "all axes"; ours reads it as written. */
function reduce(
  graph: ModelBuilder,
  op: string,
  { name, type }: Operand,
  { axes, keepDims }: Reduction,
): ValueName {
  if (axes.length === 0) return name;
  let result = name;
  let { shape } = type;
  for (const some of graph.kernels.areShared ? innermostFirst(shape, axes) : [axes]) {
    if (SUMS.has(op)) graph.limitThreads(safeSumThreads(shape, some));
    result = graph.node(op, [result, graph.int64s(some)], { keepdims: keepDims ? 1 : 0 });
    // Axes that are left lie in front of those that are gone.
    shape = shape.flatMap((extent, axis) =>
      some.includes(axis) ? (keepDims ? [1] : []) : [extent],
    );
  }
  return result;
}

/**
 * The last axes before others in front of those that are kept: whoever made an image has it at hand and adds it up, where a thread
 * that adds up a channel of all images takes them from the others.
 */
function innermostFirst(shape: Shape, axes: readonly number[]): (readonly number[])[] {
  let kept = shape.length - 1;
  while (axes.includes(kept)) kept--;
  const steps = [axes.filter((axis) => axis > kept), axes.filter((axis) => axis < kept)];
  const isSplit = steps.every((some) => sizeOf(some.map((axis) => shape[axis] ?? 1)) > 1);
  return isSplit ? steps : [axes];
}

/** Of these the order matters. */
const SUMS: ReadonlySet<string> = new Set(['ReduceSum', 'ReduceMean']);

function reduction<N extends 'sum' | 'reduceMax' | 'reduceMin'>(op: string): Emit<N> {
  return (inputs, { graph, params }) => reduce(graph, op, operand(inputs, 0), params);
}

/** A value of the type of another one. */
function like({ type }: Operand, name: ValueName): Operand {
  return { name, type };
}

function divided(graph: ModelBuilder, x: ValueName, count: number): ValueName {
  return count === 1 ? x : graph.node('Div', [x, graph.scalar('float32', count)]);
}

const mean: Emit<'mean'> = (inputs, { graph, params }) => {
  const x = operand(inputs, 0);
  return divided(graph, reduce(graph, 'ReduceSum', x, params), params.count);
};

/** x - mean(x) over `axes`, two passes: E[x²] - E[x]² loses every digit when the mean is large. */
function centered(graph: ModelBuilder, x: Operand, axes: readonly number[]): ValueName {
  const average = reduce(graph, 'ReduceMean', x, { axes, keepDims: true });
  return graph.node('Sub', [x.name, average]);
}

const variance: Emit<'variance'> = (inputs, { graph, params, type }) => {
  const x = operand(inputs, 0);
  if (params.axes.length === 0) return graph.filled(type, 0);
  const deviation = centered(graph, x, params.axes);
  const squares = graph.node('Mul', [deviation, deviation]);
  return divided(graph, reduce(graph, 'ReduceSum', like(x, squares), params), params.count);
};

/** x̂ = (x - mean) · r with r = 1 / sqrt(variance + ε), kept apart because the gradient needs both. */
function normalized(
  graph: ModelBuilder,
  x: Operand,
  { axes, epsilon }: { readonly axes: readonly number[]; readonly epsilon: number },
): { readonly xHat: ValueName; readonly r: ValueName } {
  const deviation = centered(graph, x, axes);
  const squares = graph.node('Mul', [deviation, deviation]);
  const spread = reduce(graph, 'ReduceMean', like(x, squares), { axes, keepDims: true });
  const shifted = graph.node('Add', [spread, graph.scalar('float32', epsilon)]);
  const r = graph.node('Reciprocal', [graph.node('Sqrt', [shifted])]);
  return { xHat: graph.node('Mul', [deviation, r]), r };
}

// dL/dx = r · (dy - mean(dy) - x̂ · mean(dy · x̂))
const normalizeGrad: Emit<'normalizeGrad'> = (inputs, { graph, params }) => {
  const dy = operand(inputs, 1);
  const { axes } = params;
  const { xHat, r } = normalized(graph, operand(inputs, 0), params);
  const keep = { axes, keepDims: true };
  const projection = reduce(
    graph,
    'ReduceMean',
    like(dy, graph.node('Mul', [dy.name, xHat])),
    keep,
  );
  const along = graph.node('Mul', [xHat, projection]);
  return graph.node('Mul', [graph.node('Sub', [centered(graph, dy, axes), along]), r]);
};

const argMax: Emit<'argMax'> = (inputs, { graph, params }) => {
  const first = graph.node('ArgMax', [operand(inputs, 0).name], {
    axis: params.axis,
    keepdims: 0,
    select_last_index: 0,
  });
  return graph.node('Cast', [first], { to: 6 });
};

function alongAxis<N extends 'softmax' | 'logSoftmax'>(op: string): Emit<N> {
  return (inputs, { graph, params }: EmitSite<N>) =>
    graph.node(op, [operand(inputs, 0).name], { axis: params.axis });
}

export const EMIT_REDUCTION: EmitRows<ReductionOp> = {
  sum: reduction('ReduceSum'),
  mean,
  variance,
  reduceMax: reduction('ReduceMax'),
  reduceMin: reduction('ReduceMin'),
  argMax,
  cumsum: (inputs, { graph, params }) =>
    graph.node('CumSum', [operand(inputs, 0).name, graph.int64(params.axis)], {
      exclusive: params.exclusive ? 1 : 0,
      reverse: params.reverse ? 1 : 0,
    }),
  softmax: alongAxis('Softmax'),
  logSoftmax: alongAxis('LogSoftmax'),
  normalize: (inputs, { graph, params }) => normalized(graph, operand(inputs, 0), params).xHat,
  normalizeGrad,
};
