/** @file Linear and convolution layers, embeddings, pooling: weights in PyTorch's layout. */
import type { Parameter } from '../parameter.js';
import { combine } from '../tensor.js';
import type { Tensor } from '../tensor.js';
import { add, reshape } from '../emit.js';
import * as windows from '../lower/windows.js';
import type { ConvOptions, Pair, PoolOptions } from '../lower/windows.js';
import { fanIn, kaimingUniform, normalParameter, uniformParameter } from './init.js';
import { Module } from './module.js';

interface BiasOption {
  readonly bias?: boolean;
}

/** x · Wᵀ + b: `[..., in]` → `[..., out]`; weight `[out, in]`, bias `[out]`. */
export class Linear extends Module {
  readonly weight: Parameter;
  readonly bias: Parameter | null;

  constructor(inFeatures: number, outFeatures: number, options: BiasOption = {}) {
    super();
    this.weight = kaimingUniform([outFeatures, inFeatures]);
    this.bias =
      options.bias === false ? null : uniformParameter([outFeatures], 1 / Math.sqrt(inFeatures));
  }

  forward(x: Tensor): Tensor {
    return linear(x, this.weight, this.bias);
  }

  protected override describe(): string {
    const [out, inner] = this.weight.shape;
    return `${String(inner)} → ${String(out)}${this.bias === null ? ', no bias' : ''}`;
  }
}

/** x `[..., in]`, weight `[out, in]`, bias `[out]` → `[..., out]`. */
export function linear(x: Tensor, weight: Tensor, bias: Tensor | null = null): Tensor {
  const isVector = x.ndim === 1;
  return combine(bias === null ? [x, weight] : [x, weight, bias], () => {
    const { shape } = x.node.type;
    const rows = isVector ? reshape(x.node, [1, ...shape]) : x.node;
    const product = windows.matMulTransposed(rows, weight.node);
    const shaped = isVector ? reshape(product, product.type.shape.slice(1)) : product;
    return bias === null ? shaped : add(shaped, bias.node);
  });
}

export interface Conv2dOptions extends ConvOptions, BiasOption {}

/** `[B, C, H, W]` → `[B, O, H', W']`; weight `[O, C/groups, kh, kw]`, bias `[O]`. */
export class Conv2d extends Module {
  readonly weight: Parameter;
  readonly bias: Parameter | null;
  private readonly options: ConvOptions;

  constructor(
    inChannels: number,
    outChannels: number,
    kernelSize: Pair,
    options: Conv2dOptions = {},
  ) {
    super();
    const { bias = true, ...rest } = options;
    const shape = [outChannels, inChannels / (rest.groups ?? 1), ...windows.pairOf(kernelSize)];
    this.options = rest;
    this.weight = kaimingUniform(shape);
    this.bias = bias ? uniformParameter([outChannels], 1 / Math.sqrt(fanIn(shape))) : null;
  }

  forward(x: Tensor): Tensor {
    const y = x.conv2d(this.weight, this.options);
    return this.bias === null ? y : y.add(this.bias.reshape([-1, 1, 1]));
  }

  protected override describe(): string {
    const [out, inner, height, width] = this.weight.shape;
    return `${String(inner)} → ${String(out)}, ${String(height)}×${String(width)}`;
  }
}

export interface Conv1dOptions extends BiasOption {
  readonly stride?: number;
  readonly padding?: number;
  readonly dilation?: number;
}

/** `[B, C, L]` → `[B, O, L']`; weight `[O, C, k]`, bias `[O]`. */
export class Conv1d extends Module {
  readonly weight: Parameter;
  readonly bias: Parameter | null;
  private readonly options: Required<Omit<Conv1dOptions, 'bias'>>;

  constructor(
    inChannels: number,
    outChannels: number,
    kernelSize: number,
    options: Conv1dOptions = {},
  ) {
    super();
    const { bias = true, stride = 1, padding = 0, dilation = 1 } = options;
    this.options = { stride, padding, dilation };
    const shape = [outChannels, inChannels, kernelSize];
    this.weight = kaimingUniform(shape);
    this.bias = bias ? uniformParameter([outChannels], 1 / Math.sqrt(fanIn(shape))) : null;
  }

  forward(x: Tensor): Tensor {
    const y = combine([x, this.weight], ([a, w]) => windows.conv1d(a, w, this.options));
    return this.bias === null ? y : y.add(this.bias.reshape([-1, 1]));
  }
}

/** Rows of a table `[count, width]` at int32 `[...]` → `[..., width]`. */
export class Embedding extends Module {
  readonly weight: Parameter;

  constructor(count: number, width: number) {
    super();
    this.weight = normalParameter([count, width]);
  }

  forward(indices: Tensor): Tensor {
    return this.weight.embedding(indices);
  }

  protected override describe(): string {
    return this.weight.shape.join(' × ');
  }
}

/** A window slid over the last two axes of `[B, C, H, W]`; what becomes of a window is the subclass's. */
abstract class Pool2d extends Module {
  protected readonly kernelSize: Pair;
  protected readonly options: PoolOptions;

  constructor(kernelSize: Pair, options: PoolOptions = {}) {
    super();
    this.kernelSize = kernelSize;
    this.options = options;
  }

  protected override describe(): string {
    return String(this.kernelSize);
  }
}

export class MaxPool2d extends Pool2d {
  forward(x: Tensor): Tensor {
    return x.maxPool2d(this.kernelSize, this.options);
  }
}

export class AvgPool2d extends Pool2d {
  forward(x: Tensor): Tensor {
    return x.avgPool2d(this.kernelSize, this.options);
  }
}
