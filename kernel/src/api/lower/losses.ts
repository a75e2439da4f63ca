/** @file Losses in forms that neither overflow nor take the log of zero. */
import { formatShape, sameShape, ShapeError } from '@ravenlab/protocol';
import type { GraphNode } from '../../core/graph/node.js';
import { add, castTo, constant, emit, mul, scale, sub, transpose } from '../emit.js';
import { softplus } from './activations.js';
import { mean, reduceLoss, sum } from './reductions.js';

export type Reduction = 'mean' | 'sum' | 'none';

function requireSameShape(op: string, input: GraphNode, target: GraphNode): void {
  if (!sameShape(input.type.shape, target.type.shape)) {
    throw new ShapeError(
      `${op}: input ${formatShape(input.type.shape)} and target ${formatShape(target.type.shape)} must have the same shape; ` +
        'broadcasting here would hide a mistake, so reshape one of them',
      { op, input: input.type.shape, target: target.type.shape },
    );
  }
}

/** Moves the class axis (1, or 0 of a vector) last. */
function classesLast(x: GraphNode): GraphNode {
  const rank = x.type.shape.length;
  if (rank <= 2) return x;
  const rest = Array.from({ length: rank - 2 }, (_, i) => i + 2);
  return transpose(x, [0, ...rest, 1]);
}

export interface CrossEntropyOptions {
  readonly reduction?: Reduction;
  /** 0 … 1: the share of the target that is spread evenly over all classes. */
  readonly labelSmoothing?: number;
  /** Rows with this class count neither in the sum nor in the mean. */
  readonly ignoreIndex?: number;
}

/**
 * Negative log likelihood of log-probabilities `[B, C, ...]`; target int32 `[B, ...]` of classes, or float32
 * probabilities of the shape of the input.
 */
export function nll(
  op: string,
  logProbabilities: GraphNode,
  target: GraphNode,
  options: CrossEntropyOptions,
): GraphNode {
  const last = classesLast(logProbabilities);
  const { shape } = last.type;
  const depth = shape[shape.length - 1] ?? 1;
  const soft = target.type.dtype === 'float32';
  if (soft) requireSameShape(op, logProbabilities, target);
  else if (!sameShape(target.type.shape, shape.slice(0, -1))) {
    throw new ShapeError(
      `${op}: logits ${formatShape(logProbabilities.type.shape)} need int32 classes of shape ${formatShape(shape.slice(0, -1))} ` +
        `or float32 probabilities of their own shape, got ${target.type.dtype} ${formatShape(target.type.shape)}`,
      { op, logits: logProbabilities.type.shape, target: target.type.shape },
    );
  }
  const hard = soft ? classesLast(target) : emit('oneHot', [castTo(target, 'int32')], { depth });
  const smoothing = options.labelSmoothing ?? 0;
  const weights =
    smoothing === 0 ? hard : add(scale(hard, 1 - smoothing), constant(smoothing / depth));
  const rows = emit('neg', [sum(mul(last, weights), shape.length - 1, false)], {});
  if (options.ignoreIndex === undefined || soft)
    return reduceLoss(rows, options.reduction ?? 'mean');
  return withoutIgnored(rows, target, options.ignoreIndex, options.reduction ?? 'mean');
}

function withoutIgnored(
  rows: GraphNode,
  target: GraphNode,
  ignoreIndex: number,
  reduction: Reduction,
): GraphNode {
  const kept = castTo(emit('notEqual', [target, constant(ignoreIndex, 'int32')], {}), 'float32');
  const masked = mul(rows, kept);
  if (reduction !== 'mean') return reduceLoss(masked, reduction);
  return emit('div', [sum(masked, undefined, false), sum(kept, undefined, false)], {});
}

export function crossEntropy(
  logits: GraphNode,
  target: GraphNode,
  options: CrossEntropyOptions,
): GraphNode {
  const axis = logits.type.shape.length > 1 ? 1 : 0;
  return nll('crossEntropy', emit('logSoftmax', [logits], { axis }), target, options);
}

export function mse(input: GraphNode, target: GraphNode, reduction: Reduction): GraphNode {
  requireSameShape('mse', input, target);
  const difference = sub(input, target);
  return reduceLoss(mul(difference, difference), reduction);
}

export function l1(input: GraphNode, target: GraphNode, reduction: Reduction): GraphNode {
  requireSameShape('l1', input, target);
  return reduceLoss(emit('abs', [sub(input, target)], {}), reduction);
}

/** Huber's loss with threshold `beta`: quadratic near zero, linear beyond. */
export function smoothL1(
  input: GraphNode,
  target: GraphNode,
  reduction: Reduction,
  beta: number,
): GraphNode {
  requireSameShape('smoothL1', input, target);
  const distance = emit('abs', [sub(input, target)], {});
  const near = scale(mul(distance, distance), 0.5 / beta);
  const far = sub(distance, constant(0.5 * beta));
  const isNear = emit('less', [distance, constant(beta)], {});
  return reduceLoss(emit('where', [isNear, near, far], {}), reduction);
}

/** softplus(x) - x·y: the cross entropy of σ(x) and y without computing σ. */
export function bceWithLogits(
  logits: GraphNode,
  target: GraphNode,
  reduction: Reduction,
): GraphNode {
  requireSameShape('bceWithLogits', logits, target);
  const rows = sub(softplus(logits), mul(logits, castTo(target, 'float32')));
  return reduceLoss(rows, reduction);
}

/** Share of rows whose largest logit is the target class; not differentiable. */
export function accuracy(logits: GraphNode, target: GraphNode): GraphNode {
  const rank = logits.type.shape.length;
  const predicted = emit('argMax', [logits], { axis: rank > 1 ? 1 : 0 });
  requireSameShape('accuracy', predicted, target);
  return mean(emit('equal', [predicted, castTo(target, 'int32')], {}), undefined, false);
}
