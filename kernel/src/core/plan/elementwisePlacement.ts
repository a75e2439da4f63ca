/** @file Placement rows of elementwise ops and of constants. */
import type { OpName, Shape } from '@ravenlab/protocol';
import type { Localize, Placement, PlacementContext, PlacementRules } from './placement.js';
import { PARTIAL, REPLICATE, localShape, shard, shardAxis } from './placement.js';

/** What is shared by the rows of ops without parameters that carry sizes. */
interface AnyContext {
  readonly inputs: readonly Placement[];
  readonly types: PlacementContext<OpName>['types'];
  readonly output: PlacementContext<OpName>['output'];
}
/** A strategy that leaves the parameters alone fits any op. */
export interface AnyStrategy {
  readonly inputs: readonly Placement[];
  readonly output: Placement;
}
type AnyRule = (context: AnyContext) => readonly AnyStrategy[];

/** The placement that an operand of shape `shape` needs for the result to be sharded along `axis` of `rank`. */
export function alignedPlacement(shape: Shape, rank: number, axis: number): Placement {
  const own = axis - (rank - shape.length);
  return own < 0 || shape[own] === 1 ? REPLICATE : shard(own);
}

/** One strategy per sharded axis that some operand has, then the replicated one. */
function alignments({ inputs, types, output }: AnyContext): AnyStrategy[] {
  const rank = output.shape.length;
  const axes = new Set<number>();
  inputs.forEach((placement, index) => {
    const own = shardAxis(placement);
    if (own >= 0) axes.add(own + rank - (types[index]?.shape.length ?? 0));
  });
  const sharded = [...axes].map((axis) => ({
    inputs: types.map((type) => alignedPlacement(type.shape, rank, axis)),
    output: shard(axis),
  }));
  return [...sharded, { inputs: types.map(() => REPLICATE), output: REPLICATE }];
}

function hasPartial(inputs: readonly Placement[]): boolean {
  return inputs.some((placement) => placement.kind === 'partial');
}

/** f(Σ xₛ) is not Σ f(xₛ): the sum must exist first, so a partial operand does not fit. */
const nonlinear: AnyRule = (context) => (hasPartial(context.inputs) ? [] : alignments(context));

/** Made of each micro-shard's own part, also of one that is still to be summed: how the batch is cut is part of what the op means. */
const local: AnyRule = (context) =>
  hasPartial(context.inputs) ? [{ inputs: [PARTIAL], output: PARTIAL }] : alignments(context);

/** f(Σ xₛ) = Σ f(xₛ). */
const linear: AnyRule = (context) =>
  hasPartial(context.inputs) ? [{ inputs: [PARTIAL], output: PARTIAL }] : alignments(context);

/** Σ aₛ ± Σ bₛ = Σ (aₛ ± bₛ); a replicated operand becomes n equal terms of 1/n. */
const additive: AnyRule = (context) =>
  hasPartial(context.inputs)
    ? [{ inputs: [PARTIAL, PARTIAL], output: PARTIAL }]
    : alignments(context);

/** (Σ aₛ)·b = Σ aₛ·b */
const bilinear: AnyRule = (context) =>
  hasPartial(context.inputs)
    ? [
        { inputs: [PARTIAL, REPLICATE], output: PARTIAL },
        { inputs: [REPLICATE, PARTIAL], output: PARTIAL },
      ]
    : alignments(context);

/** (Σ aₛ)/b = Σ aₛ/b, but not so in b. */
const linearInFirst: AnyRule = (context) =>
  hasPartial(context.inputs)
    ? [{ inputs: [PARTIAL, REPLICATE], output: PARTIAL }]
    : alignments(context);

/** A choice between sums by a replicated condition is linear in both values. */
const choice: AnyRule = (context) =>
  hasPartial(context.inputs)
    ? [{ inputs: [REPLICATE, PARTIAL, PARTIAL], output: PARTIAL }]
    : alignments(context);

/** Constants shaped like the batch are made in micro-shard size; elsewhere every micro-shard makes the whole. */
function constantPlacement({ output, rows, eager }: PlacementContext<OpName>): Placement {
  return eager && output.shape[0] === rows ? shard(0) : REPLICATE;
}

/** Strategy of an op whose `shape` parameter is its result's shape. */
export function sized<P extends { readonly shape: Shape }>(
  params: P,
  inputs: readonly Placement[],
  output: Placement,
): AnyStrategy & { readonly params: (local: Localize) => P } {
  const local = (to: Localize): P => ({ ...params, shape: localShape(params.shape, output, to) });
  return { inputs, output, params: local };
}

export const ELEMENTWISE_PLACEMENTS = {
  full: (context) => [sized(context.params, [], constantPlacement(context))],
  iota: ({ params }) => [sized(params, [], REPLICATE)],
  // Each micro-shard draws with its own index in the key: the numbers depend on the cut, never on the workers.
  // A draw that is not shaped like the batch (noise on a weight) differs from micro-shard to micro-shard, too.
  randomUniform: (context) => [sized(context.params, [REPLICATE], constantPlacement(context))],
  cast: (context) => {
    const keepsSums = context.params.dtype === 'float32' && context.types[0]?.dtype === 'float32';
    return keepsSums ? linear(context) : nonlinear(context);
  },
  where: choice,
  clip: nonlinear,
  neg: linear,
  abs: nonlinear,
  sign: nonlinear,
  floor: nonlinear,
  exp: nonlinear,
  log: nonlinear,
  sqrt: nonlinear,
  rsqrt: nonlinear,
  sin: nonlinear,
  cos: nonlinear,
  tanh: nonlinear,
  sigmoid: nonlinear,
  erf: nonlinear,
  relu: nonlinear,
  roundFloat16: local,
  finiteOr: local,
  logicalNot: nonlinear,
  add: additive,
  sub: additive,
  mul: bilinear,
  div: linearInFirst,
  pow: nonlinear,
  maximum: nonlinear,
  minimum: nonlinear,
  equal: nonlinear,
  notEqual: nonlinear,
  less: nonlinear,
  lessEqual: nonlinear,
  greater: nonlinear,
  greaterEqual: nonlinear,
  logicalAnd: nonlinear,
  logicalOr: nonlinear,
} satisfies Partial<PlacementRules>;
