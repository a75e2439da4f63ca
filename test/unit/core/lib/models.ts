/**
 * @file The four whole models of test/vectors as raw graphs: MLP, CNN with norm, GRU, transformer block. Weights have
 * PyTorch's names, layouts and gate order.
 */
import type { Shape } from '@ravenlab/protocol';
import { GraphBuilder } from '../../../../kernel/src/core/graph/build.js';
import type { GraphNode } from '../../../../kernel/src/core/graph/node.js';
import { applyOp } from '../../../../kernel/src/core/graph/node.js';

const g = new GraphBuilder();
const NONE = {};
const EPSILON = 1e-5;

export type Tensors = Readonly<Record<string, GraphNode>>;

export interface Forward {
  readonly logits: GraphNode;
  /** Mean cross entropy. */
  readonly loss: GraphNode;
}

/** Inputs are `x` and `target` beside the weights. */
export type Model = (tensors: Tensors) => Forward;

function pick(tensors: Tensors, name: string): GraphNode {
  const node = tensors[name];
  if (node === undefined) {
    throw new Error(`no tensor '${name}' among ${Object.keys(tensors).join(', ')}`);
  }
  return node;
}

/** x·Wᵀ + b */
function linear(tensors: Tensors, name: string, x: GraphNode): GraphNode {
  const product = g.matMul(x, pick(tensors, `${name}.weight`), false, true);
  return g.add(product, pick(tensors, `${name}.bias`));
}

function meanOfAll(x: GraphNode): GraphNode {
  const axes = x.type.shape.map((_, axis) => axis);
  const count = x.type.shape.reduce((size, extent) => size * extent, 1);
  return applyOp('mean', [x], { axes, keepDims: false, count });
}

/** Mean over all rows of -log p(target); logits `[..., C]`, target `[...]`. */
function crossEntropy(logits: GraphNode, target: GraphNode): GraphNode {
  const axis = logits.type.shape.length - 1;
  const depth = logits.type.shape[axis]!;
  const chosen = g.mul(
    applyOp('logSoftmax', [logits], { axis }),
    applyOp('oneHot', [target], { depth }),
  );
  return meanOfAll(g.unary('neg', g.sum(chosen, [axis])));
}

function affine(tensors: Tensors, name: string, x: GraphNode, shape: Shape): GraphNode {
  const scale = g.reshape(pick(tensors, `${name}.weight`), shape);
  return g.add(g.mul(x, scale), g.reshape(pick(tensors, `${name}.bias`), shape));
}

function silu(x: GraphNode): GraphNode {
  return g.mul(x, g.unary('sigmoid', x));
}

/** 0.5·x·(1 + erf(x/√2)) */
function gelu(x: GraphNode): GraphNode {
  const erf = applyOp('erf', [g.scale(x, Math.SQRT1_2)], NONE);
  return g.mul(g.scale(x, 0.5), g.add(erf, g.scalar(1)));
}

export const mlp: Model = (t) => {
  const hidden = applyOp('relu', [linear(t, '0', pick(t, 'x'))], NONE);
  const logits = linear(t, '4', g.unary('tanh', linear(t, '2', hidden)));
  return { logits, loss: crossEntropy(logits, pick(t, 'target')) };
};

/** `[B, C, H, W]` normalised in `groups` groups of channels per sample. */
function groupNorm(x: GraphNode, groups: number): GraphNode {
  const [batch = 0, channels = 0, ...spatial] = x.type.shape;
  const grouped = g.reshape(x, [batch, groups, channels / groups, ...spatial]);
  const normal = applyOp('normalize', [grouped], { axes: [2, 3, 4], epsilon: EPSILON });
  return g.reshape(normal, x.type.shape);
}

/** `batchNorm` false leaves out the layer whose statistics depend on the micro-shard. */
export function cnnModel(batchNorm: boolean): Model {
  return (t) => {
    const square = { stride: [1, 1], padding: [1, 1, 1, 1], dilation: [1, 1], groups: 1 };
    let x = applyOp('conv2d', [pick(t, 'x'), pick(t, 'conv1.weight')], square);
    x = g.add(x, g.reshape(pick(t, 'conv1.bias'), [1, 8, 1, 1]));
    if (batchNorm) x = applyOp('normalize', [x], { axes: [0, 2, 3], epsilon: EPSILON });
    x = applyOp('relu', [affine(t, 'bn', x, [1, 8, 1, 1])], NONE);
    const halving = { kernel: [2, 2], stride: [2, 2], padding: [0, 0, 0, 0] };
    x = applyOp('maxPool2d', [x], halving);
    const grouped = { ...square, stride: [2, 2], groups: 2 };
    x = applyOp('conv2d', [x, pick(t, 'conv2.weight')], grouped);
    x = g.add(x, g.reshape(pick(t, 'conv2.bias'), [1, 16, 1, 1]));
    x = silu(affine(t, 'gn', groupNorm(x, 4), [1, 16, 1, 1]));
    x = applyOp('avgPool2d', [x], { ...halving, stride: [1, 1] });
    const [batch = 0, ...rest] = x.type.shape;
    const flat = g.reshape(x, [batch, rest.reduce((size, extent) => size * extent, 1)]);
    const logits = linear(t, 'fc', flat);
    return { logits, loss: crossEntropy(logits, pick(t, 'target')) };
  };
}

/** One GRU step; PyTorch's gates r, z, n in this order. h' = (1 - z)∘n + z∘h */
function gruStep(t: Tensors, x: GraphNode, h: GraphNode, size: number): GraphNode {
  const gates = (side: 'ih' | 'hh', value: GraphNode): GraphNode[] => {
    const weight = pick(t, `gru.weight_${side}_l0`);
    const all = g.add(g.matMul(value, weight, false, true), pick(t, `gru.bias_${side}_l0`));
    return [0, 1, 2].map((k) => g.sliceAxis(all, 1, k * size, (k + 1) * size));
  };
  const [xr, xz, xn] = gates('ih', x) as [GraphNode, GraphNode, GraphNode];
  const [hr, hz, hn] = gates('hh', h) as [GraphNode, GraphNode, GraphNode];
  const r = g.unary('sigmoid', g.add(xr, hr));
  const z = g.unary('sigmoid', g.add(xz, hz));
  const n = g.unary('tanh', g.add(xn, g.mul(r, hn)));
  return g.add(g.mul(g.sub(g.scalar(1), z), n), g.mul(z, h));
}

/** Embedding, one GRU layer from a zero state, classifier on the last state. `x` is int32 `[B, T]`. */
export const gru: Model = (t) => {
  const embedded = applyOp('gather', [pick(t, 'embedding.weight'), pick(t, 'x')], { axis: 0 });
  const [batch = 0, steps = 0, width = 0] = embedded.type.shape;
  const size = pick(t, 'gru.weight_hh_l0').type.shape[1]!;
  let h = g.full([batch, size], 0);
  for (let step = 0; step < steps; step++) {
    const now = g.reshape(g.sliceAxis(embedded, 1, step, step + 1), [batch, width]);
    h = gruStep(t, now, h, size);
  }
  const logits = linear(t, 'fc', h);
  return { logits, loss: crossEntropy(logits, pick(t, 'target')) };
};

function layerNorm(t: Tensors, name: string, x: GraphNode): GraphNode {
  const axis = x.type.shape.length - 1;
  const normal = applyOp('normalize', [x], { axes: [axis], epsilon: EPSILON });
  return affine(t, name, normal, [x.type.shape[axis]!]);
}

/** Causal self-attention with packed projections, `[B, T, D]` → `[B, T, D]`. */
function attention(t: Tensors, x: GraphNode, heads: number): GraphNode {
  const [batch = 0, steps = 0, width = 0] = x.type.shape;
  const packed = g.add(
    g.matMul(x, pick(t, 'block.self_attn.in_proj_weight'), false, true),
    pick(t, 'block.self_attn.in_proj_bias'),
  );
  const [q, k, v] = [0, 1, 2].map((part) => {
    const own = g.sliceAxis(packed, 2, part * width, (part + 1) * width);
    return g.transpose(g.reshape(own, [batch, steps, heads, width / heads]), [0, 2, 1, 3]);
  }) as [GraphNode, GraphNode, GraphNode];
  const scores = g.scale(g.matMul(q, k, false, true), 1 / Math.sqrt(width / heads));
  const row = applyOp('iota', [], { shape: [steps, steps], axis: 0 });
  const column = applyOp('iota', [], { shape: [steps, steps], axis: 1 });
  const masked = g.where(g.binary('less', row, column), g.scalar(-1e9), scores);
  const weights = applyOp('softmax', [masked], { axis: 3 });
  const mixed = g.reshape(g.transpose(g.matMul(weights, v), [0, 2, 1, 3]), x.type.shape);
  return linear(t, 'block.self_attn.out_proj', mixed);
}

/** Embedding, one pre-norm block with causal attention and GELU, classifier per token. `x` is int32 `[B, T]`. */
export const transformer: Model = (t) => {
  const embedded = applyOp('gather', [pick(t, 'embedding.weight'), pick(t, 'x')], { axis: 0 });
  let x = g.add(embedded, pick(t, 'position'));
  x = g.add(x, attention(t, layerNorm(t, 'block.norm1', x), 4));
  const inner = gelu(linear(t, 'block.linear1', layerNorm(t, 'block.norm2', x)));
  x = g.add(x, linear(t, 'block.linear2', inner));
  const logits = linear(t, 'head', layerNorm(t, 'norm', x));
  return { logits, loss: crossEntropy(logits, pick(t, 'target')) };
};

export const MODELS: Readonly<Record<string, Model>> = {
  mlp,
  cnn: cnnModel(true),
  gru,
  transformer,
};
