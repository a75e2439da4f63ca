/** @file Placement rows of ops that move elements: they follow the sharded axis, or need the whole batch. */
import type { Shape } from '@ravenlab/protocol';
import { sizeOf } from '@ravenlab/protocol';
import type { AnyStrategy } from './elementwisePlacement.js';
import { sized } from './elementwisePlacement.js';
import type {
  Localize,
  Placement,
  PlacementContext,
  PlacementRules,
  Strategy,
} from './placement.js';
import { PARTIAL, REPLICATE, localShape, shard, shardAxis, shardedAxes } from './placement.js';

/**
 * Axis of `to` that holds the rows of the batch after reshaping `from` sharded along `axis`, -1 if they are no longer
 * consecutive there. Row-major order is kept, so the same number of elements must come before the axis, and the axis
 * must still start with the batch.
 */
function reshapedAxis(from: Shape, axis: number, to: Shape, rows: number): number {
  const before = sizeOf(from.slice(0, axis));
  let prefix = 1;
  for (const [candidate, extent] of to.entries()) {
    if (prefix === before && extent % rows === 0 && extent > 0) return candidate;
    prefix *= extent;
  }
  return -1;
}

function reshape(context: PlacementContext<'reshape'>): readonly Strategy<'reshape'>[] {
  const { params, types, rows } = context;
  const input = context.inputs[0] ?? REPLICATE;
  const axis = shardAxis(input);
  if (axis < 0) return [{ inputs: [input], output: input }];
  const target = reshapedAxis(types[0]?.shape ?? [], axis, params.shape, rows);
  return target < 0 ? [] : [sized(params, [input], shard(target))];
}

/** The gradient of a sum over the batch repeats one value for every row: the rows are then made where they are used. */
function broadcastTo({
  params,
  inputs,
  types,
  rows,
  eager,
}: PlacementContext<'broadcastTo'>): readonly Strategy<'broadcastTo'>[] {
  const input = inputs[0] ?? REPLICATE;
  const from = types[0]?.shape ?? [];
  const added = params.shape.length - from.length;
  const axis = shardAxis(input);
  if (axis >= 0) return [sized(params, [input], shard(axis + added))];
  const repeatsRows = params.shape[0] === rows && (added > 0 || from[0] === 1);
  const makesRows = eager && input.kind === 'replicate' && repeatsRows;
  return [sized(params, [input], makesRows ? shard(0) : input)];
}

function concat({ params, inputs }: PlacementContext<'concat'>): readonly AnyStrategy[] {
  const all = (placement: Placement): AnyStrategy => ({
    inputs: inputs.map(() => placement),
    output: placement,
  });
  if (inputs.some((placement) => placement.kind === 'partial')) return [all(PARTIAL)];
  const axes = shardedAxes(inputs).filter((axis) => axis !== params.axis);
  return [...axes.map((axis) => all(shard(axis))), all(REPLICATE)];
}

function slice(context: PlacementContext<'slice'>): readonly Strategy<'slice'>[] {
  const { params, inputs, types } = context;
  const input = inputs[0] ?? REPLICATE;
  const axis = shardAxis(input);
  const whole =
    params.begin[axis] === 0 &&
    params.end[axis] === types[0]?.shape[axis] &&
    params.step[axis] === 1;
  if (axis >= 0 && !whole) return [];
  const localized = (local: Localize): typeof params => ({
    ...params,
    end: localShape(params.end, input, local),
  });
  return [{ inputs: [input], output: input, params: localized }];
}

function pad({ params, inputs }: PlacementContext<'pad'>): readonly AnyStrategy[] {
  const input = inputs[0] ?? REPLICATE;
  const axis = shardAxis(input);
  // Every term would bring its own padding, so that n times the value would come out.
  if (input.kind === 'partial' && params.value !== 0) return [];
  if (axis >= 0 && (params.before[axis] !== 0 || params.after[axis] !== 0)) return [];
  return [{ inputs: [input], output: input }];
}

/** `[..., N, ...]` picked by indices `I`: the axes of I stand where N was. */
function gather(context: PlacementContext<'gather'>): readonly AnyStrategy[] {
  const { types } = context;
  const { axis } = context.params;
  const [x = [], indices = []] = types.map((type): Shape => type.shape);
  const moves: AnyStrategy[] = [
    { inputs: [REPLICATE, REPLICATE], output: REPLICATE },
    { inputs: [PARTIAL, REPLICATE], output: PARTIAL },
  ];
  indices.forEach((_, own) => {
    moves.push({ inputs: [REPLICATE, shard(own)], output: shard(axis + own) });
  });
  x.forEach((_, own) => {
    if (own === axis) return;
    const output = shard(own < axis ? own : own - 1 + indices.length);
    moves.push({ inputs: [shard(own), REPLICATE], output });
  });
  return moves;
}

/** Updates of different rows of the batch meet in the same place: the result is a sum. */
function scatterAdd({ types }: PlacementContext<'scatterAdd'>): readonly AnyStrategy[] {
  const [indices = [], updates = []] = types.map((type): Shape => type.shape);
  const moves: AnyStrategy[] = [
    { inputs: [REPLICATE, REPLICATE], output: REPLICATE },
    { inputs: [REPLICATE, PARTIAL], output: PARTIAL },
  ];
  updates.forEach((_, own) => {
    const move =
      own < indices.length
        ? { inputs: [shard(own), shard(own)], output: PARTIAL }
        : { inputs: [REPLICATE, shard(own)], output: shard(own - indices.length + 1) };
    moves.push(move);
  });
  return moves;
}

/** Keeps the placement unless the op works along the sharded axis itself. */
function keep(
  input: Placement | undefined,
  worksAlong: (axis: number) => boolean,
): readonly AnyStrategy[] {
  if (input === undefined) return [];
  return input.kind === 'shard' && worksAlong(input.axis)
    ? []
    : [{ inputs: [input], output: input }];
}

export const LAYOUT_PLACEMENTS = {
  reshape,
  transpose: ({ inputs: [input = REPLICATE], params }) => {
    const axis = shardAxis(input);
    return [{ inputs: [input], output: axis < 0 ? input : shard(params.perm.indexOf(axis)) }];
  },
  broadcastTo,
  concat,
  slice,
  pad,
  tile: ({ inputs, params }) => keep(inputs[0], (axis) => params.repeats[axis] !== 1),
  reverse: ({ inputs, params }) => keep(inputs[0], (axis) => params.axes.includes(axis)),
  gather,
  scatterAdd,
  // 0 or 1 of a sum is not the sum of 0s and 1s.
  oneHot: ({ inputs: [input] }) =>
    input === undefined || input.kind === 'partial' ? [] : [{ inputs: [input], output: input }],
} satisfies Partial<PlacementRules>;
