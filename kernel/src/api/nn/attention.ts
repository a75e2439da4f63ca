/** @file Multi-head attention and the transformer encoder layer, with PyTorch's weights. */
import { formatShape, ShapeError } from '@ravenlab/protocol';
import type { Parameter } from '../parameter.js';
import type { Tensor } from '../tensor.js';
import { constantParameter, xavierUniform } from './init.js';
import { Dropout } from './layers.js';
import { Linear, linear } from './linear.js';
import { Module } from './module.js';
import { LayerNorm } from './norms.js';

export interface AttentionOptions {
  /** bool `[T, S]` or broadcastable to `[B, heads, T, S]`: true hides a key from a query. */
  readonly mask?: Tensor;
  /** Hides every later position. */
  readonly causal?: boolean;
}

/** Large enough that exp gives 0, small enough that sums of a few do not overflow. */
const HIDDEN = -1e9;

/**
 * softmax(QKᵀ/√d)·V over `heads` heads. Batch first: query `[B, T, D]`, key and value `[B, S, D]` → `[B, T, D]`.
 * Parameters are in_proj_weight `[3D, D]`, in_proj_bias, out_proj, as in torch.nn.MultiheadAttention.
 */
export class MultiHeadAttention extends Module {
  readonly inProjWeight: Parameter;
  readonly inProjBias: Parameter;
  readonly outProj: Linear;
  private readonly heads: number;
  private readonly width: number;

  /** @throws ShapeError when the width does not divide by the heads. */
  constructor(width: number, heads: number) {
    super();
    if (width % heads !== 0) {
      throw new ShapeError(
        `MultiHeadAttention: width ${String(width)} does not divide by ${String(heads)} heads`,
        { width, heads },
      );
    }
    this.width = width;
    this.heads = heads;
    this.inProjWeight = xavierUniform([3 * width, width]);
    this.inProjBias = constantParameter([3 * width], 0);
    this.outProj = new Linear(width, width);
    this.outProj.bias?.set(new Float32Array(width));
  }

  forward(
    query: Tensor,
    key: Tensor = query,
    value: Tensor = key,
    options: AttentionOptions = {},
  ): Tensor {
    const [q, k, v] = this.project(query, key, value);
    const scores = q.matMul(k.transpose()).mul(1 / Math.sqrt(this.width / this.heads));
    const weights = this.hide(scores, options).softmax(-1);
    const mixed = weights.matMul(v).permute([0, 2, 1, 3]);
    const [batch = 0, time = 0] = query.shape;
    return this.outProj.forward(mixed.reshape([batch, time, this.width]));
  }

  protected override describe(): string {
    return `${String(this.width)}, ${String(this.heads)} heads`;
  }

  /** Each `[B, heads, T, D/heads]`. */
  private project(query: Tensor, key: Tensor, value: Tensor): readonly [Tensor, Tensor, Tensor] {
    for (const input of [query, key, value]) this.check(input);
    if (query === key && key === value) {
      const [q, k, v] = linear(query, this.inProjWeight, this.inProjBias).split(this.width, 2);
      if (q && k && v) return [this.divide(q), this.divide(k), this.divide(v)];
    }
    const one = (input: Tensor, index: number): Tensor => {
      const rows = [index * this.width, (index + 1) * this.width] as const;
      return this.divide(linear(input, this.inProjWeight.at([rows]), this.inProjBias.at([rows])));
    };
    return [one(query, 0), one(key, 1), one(value, 2)];
  }

  private check(x: Tensor): void {
    if (x.ndim === 3 && x.shape[2] === this.width) return;
    throw new ShapeError(
      `MultiHeadAttention: expected [B, T, ${String(this.width)}], got ${formatShape(x.shape)}`,
      { shape: x.shape, width: this.width },
    );
  }

  private divide(x: Tensor): Tensor {
    const [batch = 0, time = 0] = x.shape;
    return x.reshape([batch, time, this.heads, this.width / this.heads]).permute([0, 2, 1, 3]);
  }

  private hide(scores: Tensor, { mask, causal = false }: AttentionOptions): Tensor {
    const masked = mask === undefined ? scores : scores.maskedFill(mask, HIDDEN);
    if (!causal) return masked;
    const later = masked.detach().mul(0).add(1).triu(1).greater(0);
    return masked.maskedFill(later, HIDDEN);
  }
}

export interface EncoderLayerOptions {
  /** Width of the hidden layer of the feed-forward part. */
  readonly feedForward?: number;
  readonly dropout?: number;
  readonly activation?: 'relu' | 'gelu';
  /** Normalise before each part instead of after the sum. */
  readonly normFirst?: boolean;
}

/** Self-attention and a feed-forward part, each with a residual sum; defaults of torch.nn.TransformerEncoderLayer. */
export class TransformerEncoderLayer extends Module {
  readonly selfAttn: MultiHeadAttention;
  readonly linear1: Linear;
  readonly linear2: Linear;
  readonly norm1: LayerNorm;
  readonly norm2: LayerNorm;
  private readonly dropout: Dropout;
  private readonly activation: 'relu' | 'gelu';
  private readonly normFirst: boolean;

  constructor(width: number, heads: number, options: EncoderLayerOptions = {}) {
    super();
    const { feedForward = 2048, dropout = 0.1, activation = 'relu', normFirst = false } = options;
    this.selfAttn = new MultiHeadAttention(width, heads);
    this.linear1 = new Linear(width, feedForward);
    this.linear2 = new Linear(feedForward, width);
    this.norm1 = new LayerNorm(width);
    this.norm2 = new LayerNorm(width);
    this.dropout = new Dropout(dropout);
    this.activation = activation;
    this.normFirst = normFirst;
  }

  /** `[B, T, D]` → `[B, T, D]`. */
  forward(x: Tensor, options: AttentionOptions = {}): Tensor {
    if (this.normFirst) {
      const attended = x.add(this.attend(this.norm1.forward(x), options));
      return attended.add(this.feed(this.norm2.forward(attended)));
    }
    const attended = this.norm1.forward(x.add(this.attend(x, options)));
    return this.norm2.forward(attended.add(this.feed(attended)));
  }

  private attend(x: Tensor, options: AttentionOptions): Tensor {
    return this.dropout.forward(this.selfAttn.forward(x, x, x, options));
  }

  private feed(x: Tensor): Tensor {
    const hidden = this.linear1.forward(x);
    const active = this.activation === 'relu' ? hidden.relu() : hidden.gelu();
    return this.dropout.forward(this.linear2.forward(this.dropout.forward(active)));
  }
}
