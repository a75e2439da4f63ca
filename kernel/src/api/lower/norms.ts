/** @file Layer, group and batch normalisation on the primitive `normalize`. */
import { formatShape, sameShape, ShapeError, sizeOf } from '@ravenlab/protocol';
import type { GraphNode } from '../../core/graph/node.js';
import { add, constant, emit, mul, reshape, sub } from '../emit.js';

export interface Affine {
  readonly weight: GraphNode | undefined;
  readonly bias: GraphNode | undefined;
}

export const NO_AFFINE: Affine = { weight: undefined, bias: undefined };

function affine(x: GraphNode, { weight, bias }: Affine): GraphNode {
  const scaled = weight === undefined ? x : mul(x, weight);
  return bias === undefined ? scaled : add(scaled, bias);
}

/** Parameters `[C]` of channel axis 1, shaped to broadcast against `[B, C, ...]`. */
function perChannel(x: GraphNode, parameters: Affine): Affine {
  const shaped = (node: GraphNode | undefined): GraphNode | undefined =>
    node === undefined
      ? undefined
      : reshape(node, [...node.type.shape, ...x.type.shape.slice(2).map(() => 1)]);
  return { weight: shaped(parameters.weight), bias: shaped(parameters.bias) };
}

/** Normalises the trailing axes of extent `shape`. */
export function layerNorm(
  x: GraphNode,
  shape: readonly number[],
  parameters: Affine,
  epsilon: number,
): GraphNode {
  const rank = x.type.shape.length;
  const trailing = x.type.shape.slice(Math.max(0, rank - shape.length));
  if (!sameShape(trailing, shape)) {
    throw new ShapeError(
      `layerNorm: input ${formatShape(x.type.shape)} does not end with the normalised shape ${formatShape(shape)}`,
      { input: x.type.shape, normalized: shape },
    );
  }
  const axes = shape.map((_, axis) => rank - shape.length + axis);
  return affine(emit('normalize', [x], { axes, epsilon }), parameters);
}

/** Normalises each of `groups` groups of channels of x `[B, C, ...]`. */
export function groupNorm(
  x: GraphNode,
  groups: number,
  parameters: Affine,
  epsilon: number,
): GraphNode {
  const [batch = 0, channels = 0, ...spatial] = x.type.shape;
  if (x.type.shape.length < 2 || channels % groups !== 0) {
    throw new ShapeError(
      `groupNorm: input ${formatShape(x.type.shape)} needs shape [B, C, ...] with C divisible by ${String(groups)} groups`,
      { input: x.type.shape, groups },
    );
  }
  const grouped = reshape(x, [batch, groups, (channels / groups) * sizeOf(spatial)]);
  const normal = emit('normalize', [grouped], { axes: [2], epsilon });
  return affine(reshape(normal, x.type.shape), perChannel(x, parameters));
}

/** Every axis but the channel axis 1. */
export function batchAxes(x: GraphNode): number[] {
  return x.type.shape.flatMap((_, axis) => (axis === 1 ? [] : [axis]));
}

/** Batch norm with the statistics of the batch (of each micro-shard of it). */
export function batchNormTraining(x: GraphNode, parameters: Affine, epsilon: number): GraphNode {
  const normal = emit('normalize', [x], { axes: batchAxes(x), epsilon });
  return affine(normal, perChannel(x, parameters));
}

/** Batch norm with running statistics `[C]`. */
export function batchNormInference(
  x: GraphNode,
  mean: GraphNode,
  variance: GraphNode,
  parameters: Affine,
  epsilon: number,
): GraphNode {
  const inverse = emit('rsqrt', [add(variance, constant(epsilon))], {});
  const shaped = perChannel(x, { weight: inverse, bias: mean });
  const centred = shaped.bias === undefined ? x : sub(x, shaped.bias);
  const normal = shaped.weight === undefined ? centred : mul(centred, shaped.weight);
  return affine(normal, perChannel(x, parameters));
}
