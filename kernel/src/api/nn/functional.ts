/** @file Losses and other functions without weights of their own; `nn.functional` in a cell. */
import { ShapeError } from '@ravenlab/protocol';
import type { GraphNode } from '../../core/graph/node.js';
import { hostValue } from '../evaluate.js';
import type { CrossEntropyOptions, Reduction } from '../lower/losses.js';
import * as losses from '../lower/losses.js';
import { currentRuntime } from '../runtime.js';
import type { Tensor } from '../tensor.js';
import { combine } from '../tensor.js';

export { linear } from './linear.js';

export interface LossOptions {
  readonly reduction?: Reduction;
}

/**
 * A class outside 0 … classes - 1 would count as no class at all; where the labels are known here, say so instead.
 * @throws ShapeError naming the first such label.
 */
function checkClasses(
  op: string,
  target: GraphNode,
  classes: number,
  ignored: number | undefined,
): void {
  if (target.kind !== 'leaf' || target.type.dtype !== 'int32') return;
  const labels = hostValue(currentRuntime(), target);
  const bad = labels?.findIndex((label) => (label < 0 || label >= classes) && label !== ignored);
  if (labels === null || bad === undefined || bad < 0) return;
  throw new ShapeError(
    `${op}: target ${String(labels[bad])} at position ${String(bad)} is not one of the ${String(classes)} classes 0 … ${String(classes - 1)}; ` +
      'check the labels, or give the last layer more outputs',
    { label: labels[bad], position: bad, classes },
  );
}

/** Logits `[B, C, ...]`, target int32 `[B, ...]` of classes, or float32 probabilities of the shape of the logits. */
export function crossEntropy(
  logits: Tensor,
  target: Tensor,
  options: CrossEntropyOptions = {},
): Tensor {
  const classes = logits.shape[logits.ndim > 1 ? 1 : 0] ?? 0;
  checkClasses('crossEntropy', target.node, classes, options.ignoreIndex);
  return combine([logits, target], ([x, y]) => losses.crossEntropy(x, y, options));
}

/** Like `crossEntropy`, of log-probabilities. */
export function nllLoss(
  logProbabilities: Tensor,
  target: Tensor,
  options: CrossEntropyOptions = {},
): Tensor {
  const classes = logProbabilities.shape[logProbabilities.ndim > 1 ? 1 : 0] ?? 0;
  checkClasses('nllLoss', target.node, classes, options.ignoreIndex);
  return combine([logProbabilities, target], ([x, y]) => losses.nll('nllLoss', x, y, options));
}

export function mse(input: Tensor, target: Tensor, options: LossOptions = {}): Tensor {
  return combine([input, target], ([x, y]) => losses.mse(x, y, options.reduction ?? 'mean'));
}

export function l1(input: Tensor, target: Tensor, options: LossOptions = {}): Tensor {
  return combine([input, target], ([x, y]) => losses.l1(x, y, options.reduction ?? 'mean'));
}

export function smoothL1(
  input: Tensor,
  target: Tensor,
  options: LossOptions & { readonly beta?: number } = {},
): Tensor {
  const { reduction = 'mean', beta = 1 } = options;
  return combine([input, target], ([x, y]) => losses.smoothL1(x, y, reduction, beta));
}

/** Binary cross entropy of σ(logits); target 0 … 1 of the same shape. */
export function bceWithLogits(logits: Tensor, target: Tensor, options: LossOptions = {}): Tensor {
  return combine([logits, target], ([x, y]) =>
    losses.bceWithLogits(x, y, options.reduction ?? 'mean'),
  );
}

/** Share of rows whose largest logit is the target class. Made before `opt.step()`, it costs nothing extra. */
export function accuracy(logits: Tensor, target: Tensor): Tensor {
  return combine([logits, target], ([x, y]) => losses.accuracy(x, y));
}
