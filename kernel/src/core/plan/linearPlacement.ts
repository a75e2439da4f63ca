/** @file Placement rows of matrix products, convolutions, pooling and reductions. */
import type { OpName, Shape } from '@ravenlab/protocol';
import { alignedPlacement } from './elementwisePlacement.js';
import type { Placement, PlacementContext, PlacementRules } from './placement.js';
import { PARTIAL, REPLICATE, shard, shardAxis } from './placement.js';

interface Move {
  readonly inputs: readonly Placement[];
  readonly output: Placement;
}

const WHOLE: Move = { inputs: [REPLICATE, REPLICATE], output: REPLICATE };

/** Linear in each of two operands: one may be a sum if the other is whole. */
const BILINEAR: readonly Move[] = [
  { inputs: [PARTIAL, REPLICATE], output: PARTIAL },
  { inputs: [REPLICATE, PARTIAL], output: PARTIAL },
];

/** Axis of the rows (or columns) of a matrix operand, transposed or not. */
function matrixAxis(rank: number, isLast: boolean, transposed: boolean): number {
  return isLast === transposed ? rank - 2 : rank - 1;
}

/** Sharded batch axes, rows of A, columns of B, or the contracted axis of both: the latter leaves a sum. */
function matMul(context: PlacementContext<'matMul'>): readonly Move[] {
  const { params, types, output } = context;
  const [a = [], b = []] = types.map((type): Shape => type.shape);
  const rank = output.shape.length;
  const rowsOfA = matrixAxis(a.length, false, params.transposeA);
  const columnsOfB = matrixAxis(b.length, true, params.transposeB);
  const innerA = matrixAxis(a.length, true, params.transposeA);
  const innerB = matrixAxis(b.length, false, params.transposeB);
  const moves: Move[] = [WHOLE];
  for (let axis = 0; axis < rank - 2; axis++) {
    moves.push({
      inputs: [alignedPlacement(a, rank, axis), alignedPlacement(b, rank, axis)],
      output: shard(axis),
    });
  }
  moves.push(
    { inputs: [shard(rowsOfA), REPLICATE], output: shard(rank - 2) },
    { inputs: [REPLICATE, shard(columnsOfB)], output: shard(rank - 1) },
    { inputs: [shard(innerA), shard(innerB)], output: PARTIAL },
    ...BILINEAR,
  );
  return moves;
}

/** Images are cut along the batch; channels never are. */
const perImage: readonly Move[] = [
  { inputs: [shard(0), REPLICATE], output: shard(0) },
  WHOLE,
  ...BILINEAR,
];

const bothPerImage: readonly Move[] = [
  { inputs: [shard(0), shard(0)], output: shard(0) },
  { inputs: [shard(1), shard(1)], output: shard(1) },
  WHOLE,
  // Linear in dy.
  { inputs: [REPLICATE, PARTIAL], output: PARTIAL },
];

function pool(isLinear: boolean): (context: PlacementContext<OpName>) => readonly Move[] {
  return ({ inputs: [input] }) => {
    const axis = shardAxis(input);
    if (axis >= 2) return [];
    if (input?.kind === 'partial' && !isLinear) return [];
    return input === undefined ? [] : [{ inputs: [input], output: input }];
  };
}

interface Reduction {
  readonly axes: readonly number[];
  readonly keepDims: boolean;
}

/** Where a sharded axis ends up after reducing others. */
function afterReduction({ axes, keepDims }: Reduction, axis: number): number {
  return keepDims ? axis : axis - axes.filter((reduced) => reduced < axis).length;
}

/** A reduction of one input: `overBatch` is what comes out when the sharded axis itself is reduced, null if impossible. */
function reduce(
  input: Placement | undefined,
  reduction: Reduction,
  overBatch: Placement | null,
  isLinear: boolean,
): readonly Move[] {
  if (input === undefined) return [];
  if (input.kind === 'replicate') return [{ inputs: [input], output: input }];
  if (input.kind === 'partial') return isLinear ? [{ inputs: [input], output: input }] : [];
  if (!reduction.axes.includes(input.axis)) {
    return [{ inputs: [input], output: shard(afterReduction(reduction, input.axis)) }];
  }
  return overBatch === null ? [] : [{ inputs: [input], output: overBatch }];
}

/** Ops along one axis that keep the shape: fine unless that axis is the batch's. */
function along(
  { inputs: [input], params }: PlacementContext<'softmax' | 'logSoftmax' | 'cumsum'>,
  isLinear: boolean,
): readonly Move[] {
  if (input === undefined || shardAxis(input) === params.axis) return [];
  if (input.kind === 'partial' && !isLinear) return [];
  return [{ inputs: [input], output: input }];
}

export const LINEAR_PLACEMENTS = {
  matMul,
  conv2d: () => perImage,
  conv2dGradInput: () => perImage,
  // Summed over the images of the batch.
  conv2dGradWeight: () => [{ inputs: [shard(0), shard(0)], output: PARTIAL }, WHOLE, ...BILINEAR],
  maxPool2d: pool(false),
  maxPool2dGrad: () => bothPerImage,
  avgPool2d: pool(true),
  avgPool2dGrad: pool(true),
} satisfies Partial<PlacementRules>;

export const REDUCTION_PLACEMENTS = {
  sum: ({ inputs, params }) => reduce(inputs[0], params, PARTIAL, true),
  // `count` is that of the whole batch, so the terms of the micro-shards add up to the mean.
  mean: ({ inputs, params }) => reduce(inputs[0], params, PARTIAL, true),
  // EXCEPTION, like normalize: over the batch axis, deviations are from the micro-shard's own mean, and their sums
  // are pooled. This is the statistic of "ghost" batch norm; it depends on the cut. A variance of the whole batch is
  // mean((x - mean(x))²), which needs the mean first and thus falls to one micro-shard.
  variance: ({ inputs, params }) => reduce(inputs[0], params, PARTIAL, false),
  reduceMax: ({ inputs, params }) => reduce(inputs[0], params, null, false),
  reduceMin: ({ inputs, params }) => reduce(inputs[0], params, null, false),
  argMax: ({ inputs, params }) =>
    reduce(inputs[0], { axes: [params.axis], keepDims: false }, null, false),
  cumsum: (context) => along(context, true),
  softmax: (context) => along(context, false),
  logSoftmax: (context) => along(context, false),
  // EXCEPTION by definition of the op: over the batch axis the statistics are those of the micro-shard.
  normalize: ({ inputs: [x] }) =>
    x === undefined || x.kind === 'partial' ? [] : [{ inputs: [x], output: x }],
  normalizeGrad: ({ inputs: [x, dy] }) => {
    const axis = Math.max(shardAxis(x), shardAxis(dy));
    const sharded = { inputs: [shard(axis), shard(axis)], output: shard(axis) };
    return [
      ...(axis < 0 ? [] : [sharded]),
      WHOLE,
      { inputs: [REPLICATE, PARTIAL], output: PARTIAL },
    ];
  },
} satisfies Partial<PlacementRules>;
