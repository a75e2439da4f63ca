/** @file SGD, Adam and AdamW: settings only. The arithmetic runs in the engine, beside the weights. */
import type { UpdateRule } from '@ravenlab/protocol';
import { ShapeError } from '@ravenlab/protocol';
import type { Tensor } from '../tensor.js';
import type { GroupOptions, OptimizerGroup, ParameterGroup } from './optimizer.js';
import { Optimizer } from './optimizer.js';

export interface SgdOptions extends GroupOptions {
  readonly momentum?: number;
  readonly dampening?: number;
  readonly nesterov?: boolean;
}

export interface AdamOptions extends GroupOptions {
  /** Decay rates of the first and second moment. */
  readonly betas?: readonly [number, number];
  /** Added to the denominator. */
  readonly eps?: number;
}

function requireRange(name: string, value: number, below = Infinity): number {
  if (value >= 0 && value < below) return value;
  const range = below === Infinity ? '≥ 0' : `in [0, ${String(below)})`;
  throw new ShapeError(`optimizer: ${name} must be ${range}, got ${String(value)}`);
}

/** Gradient descent, v ← μ·v + (1 - dampening)·g, w ← w - lr·v, as torch.optim.SGD. */
export class SGD extends Optimizer {
  readonly momentum: number;
  readonly dampening: number;
  readonly nesterov: boolean;

  constructor(params: Iterable<Tensor> | readonly ParameterGroup[], options: SgdOptions = {}) {
    super(params, {
      lr: requireRange('lr', options.lr ?? 1e-3),
      weightDecay: requireRange('weightDecay', options.weightDecay ?? 0),
    });
    this.momentum = requireRange('momentum', options.momentum ?? 0);
    this.dampening = options.dampening ?? 0;
    this.nesterov = options.nesterov ?? false;
    if (this.nesterov && (this.momentum === 0 || this.dampening !== 0)) {
      throw new ShapeError('optimizer: nesterov needs momentum above 0 and no dampening');
    }
  }

  protected ruleOf(group: OptimizerGroup): UpdateRule {
    return {
      name: 'sgd',
      learningRate: group.lr,
      momentum: this.momentum,
      dampening: this.dampening,
      nesterov: this.nesterov,
      weightDecay: group.weightDecay,
    };
  }
}

abstract class AdamFamily extends Optimizer {
  readonly betas: readonly [number, number];
  readonly eps: number;

  constructor(
    params: Iterable<Tensor> | readonly ParameterGroup[],
    options: AdamOptions,
    weightDecay: number,
  ) {
    super(params, {
      lr: requireRange('lr', options.lr ?? 1e-3),
      weightDecay: requireRange('weightDecay', options.weightDecay ?? weightDecay),
    });
    const [beta1, beta2] = options.betas ?? [0.9, 0.999];
    this.betas = [requireRange('betas[0]', beta1, 1), requireRange('betas[1]', beta2, 1)];
    this.eps = requireRange('eps', options.eps ?? 1e-8);
  }

  protected adamRule(name: 'adam' | 'adamw', group: OptimizerGroup): UpdateRule {
    const [beta1, beta2] = this.betas;
    const { eps: epsilon } = this;
    const { lr: learningRate, weightDecay } = group;
    return { name, learningRate, beta1, beta2, epsilon, weightDecay };
  }
}

/** Adam (Kingma and Ba, 2015); weight decay is added to the gradient. */
export class Adam extends AdamFamily {
  constructor(params: Iterable<Tensor> | readonly ParameterGroup[], options: AdamOptions = {}) {
    super(params, options, 0);
  }

  protected ruleOf(group: OptimizerGroup): UpdateRule {
    return this.adamRule('adam', group);
  }
}

/** Adam with decoupled weight decay (Loshchilov and Hutter, 2019), 0.01 by default. */
export class AdamW extends AdamFamily {
  constructor(params: Iterable<Tensor> | readonly ParameterGroup[], options: AdamOptions = {}) {
    super(params, options, 0.01);
  }

  protected ruleOf(group: OptimizerGroup): UpdateRule {
    return this.adamRule('adamw', group);
  }
}
