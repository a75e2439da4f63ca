/** @file Normalisation layers with PyTorch's parameters and defaults. */
import type { Shape } from '@ravenlab/protocol';
import { ShapeError } from '@ravenlab/protocol';
import { emit } from '../emit.js';
import * as norms from '../lower/norms.js';
import type { Parameter } from '../parameter.js';
import { currentRuntime } from '../runtime.js';
import type { Tensor } from '../tensor.js';
import { combine } from '../tensor.js';
import { constantParameter } from './init.js';
import { Module } from './module.js';

export interface NormOptions {
  /** Added to the variance. */
  readonly eps?: number;
  /** False leaves out weight and bias. */
  readonly affine?: boolean;
}

abstract class AffineNorm extends Module {
  readonly weight: Parameter | null;
  readonly bias: Parameter | null;
  protected readonly eps: number;

  constructor(shape: Shape, options: NormOptions) {
    super();
    const affine = options.affine ?? true;
    this.weight = affine ? constantParameter(shape, 1) : null;
    this.bias = affine ? constantParameter(shape, 0) : null;
    this.eps = options.eps ?? 1e-5;
  }

  /** Builds on the input and whichever parameters there are. */
  protected build(x: Tensor, body: (parameters: norms.Affine) => ReturnType<typeof emit>): Tensor {
    const parameters = [this.weight, this.bias].filter((p): p is Parameter => p !== null);
    return combine([x, ...parameters], () =>
      body({ weight: this.weight?.node, bias: this.bias?.node }),
    );
  }
}

/** Normalises the trailing axes of the given extent. */
export class LayerNorm extends AffineNorm {
  private readonly shape: Shape;

  constructor(shape: number | Shape, options: NormOptions = {}) {
    const list = typeof shape === 'number' ? [shape] : shape;
    super(list, options);
    this.shape = list;
  }

  forward(x: Tensor): Tensor {
    return this.build(x, (parameters) => norms.layerNorm(x.node, this.shape, parameters, this.eps));
  }

  protected override describe(): string {
    return this.shape.join(' × ');
  }
}

/** Normalises each group of channels of `[B, C, ...]` on its own. */
export class GroupNorm extends AffineNorm {
  private readonly groups: number;

  constructor(groups: number, channels: number, options: NormOptions = {}) {
    super([channels], options);
    this.groups = groups;
  }

  forward(x: Tensor): Tensor {
    return this.build(x, (parameters) =>
      norms.groupNorm(x.node, this.groups, parameters, this.eps),
    );
  }

  protected override describe(): string {
    return `${String(this.groups)} groups`;
  }
}

export interface BatchNormOptions extends NormOptions {
  /** Weight of the newest batch in the running statistics. */
  readonly momentum?: number;
}

/**
 * Batch norm over `[B, C, ...]`. While training, statistics are those of each micro-shard ("ghost" batch norm): they do
 * not depend on who computes. Running statistics change with the next optimizer step, not in `forward`.
 */
abstract class BatchNorm extends AffineNorm {
  readonly runningMean: Parameter;
  readonly runningVar: Parameter;
  private readonly momentum: number;
  private readonly ranks: readonly number[];

  constructor(channels: number, options: BatchNormOptions, ranks: readonly number[]) {
    super([channels], options);
    this.runningMean = constantParameter([channels], 0, false);
    this.runningVar = constantParameter([channels], 1, false);
    this.momentum = options.momentum ?? 0.1;
    this.ranks = ranks;
  }

  forward(x: Tensor): Tensor {
    if (!this.ranks.includes(x.ndim) || x.shape[1] !== this.runningMean.size) {
      throw new ShapeError(
        `${this.constructor.name}: expected rank ${this.ranks.join(' or ')} with ${String(this.runningMean.size)} channels in axis 1, ` +
          `got [${x.shape.join(', ')}]`,
        { shape: x.shape },
      );
    }
    if (this.training) this.noteStatistics(x);
    return this.build(x, (parameters) =>
      this.training
        ? norms.batchNormTraining(x.node, parameters, this.eps)
        : norms.batchNormInference(
            x.node,
            this.runningMean.node,
            this.runningVar.node,
            parameters,
            this.eps,
          ),
    );
  }

  private noteStatistics(x: Tensor): void {
    const axes = norms.batchAxes(x.node);
    const count = x.size / Math.max(1, this.runningMean.size);
    if (count < 2) {
      throw new ShapeError(
        `${this.constructor.name}: one value a channel has no variance; give a larger batch or call eval()`,
        { shape: x.shape },
      );
    }
    const { buffers } = currentRuntime();
    const { momentum } = this;
    const mean = emit('mean', [x.node], { axes, keepDims: false, count });
    const variance = emit('variance', [x.node], { axes, keepDims: false, count: count - 1 });
    buffers.note({ record: this.runningMean.record, node: mean, momentum });
    buffers.note({ record: this.runningVar.record, node: variance, momentum });
  }

  protected override describe(): string {
    return String(this.runningMean.size);
  }
}

/** `[B, C]` or `[B, C, L]`. */
export class BatchNorm1d extends BatchNorm {
  constructor(channels: number, options: BatchNormOptions = {}) {
    super(channels, options, [2, 3]);
  }
}

/** `[B, C, H, W]`. */
export class BatchNorm2d extends BatchNorm {
  constructor(channels: number, options: BatchNormOptions = {}) {
    super(channels, options, [4]);
  }
}
