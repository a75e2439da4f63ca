/** @file ResNet-20 and a small transformer as single programs, with data. Normalisation takes the statistics of the batch. */
import type { OpParams } from '@ravenlab/protocol';
import { GraphBuilder } from '../../kernel/src/core/graph/build.js';
import type { GraphNode } from '../../kernel/src/core/graph/node.js';
import { applyOp } from '../../kernel/src/core/graph/node.js';
import type { TrainStep } from './trainStep.js';
import { CLASSES, Weights, finish, floats, linear, relu } from './trainStep.js';

const EPSILON = 1e-5;
const STAGES = [16, 32, 64] as const;
const BLOCKS = 3;
const g = new GraphBuilder();

function conv(
  weights: Weights,
  x: GraphNode,
  outputs: number,
  { kernel, stride }: { readonly kernel: number; readonly stride: number },
): GraphNode {
  const pad = (kernel - 1) / 2;
  const window: OpParams['conv2d'] = {
    stride: [stride, stride],
    padding: [pad, pad, pad, pad],
    dilation: [1, 1],
    groups: 1,
  };
  return applyOp(
    'conv2d',
    [x, weights.make(outputs, x.type.shape[1] ?? 1, kernel, kernel)],
    window,
  );
}

function affine(weights: Weights, x: GraphNode, shape: readonly number[]): GraphNode {
  const channels = shape.reduce((size, extent) => size * extent, 1);
  const scaled = g.mul(x, g.reshape(weights.make(channels), shape));
  return g.add(scaled, g.reshape(weights.make(channels), shape));
}

function batchNorm(weights: Weights, x: GraphNode): GraphNode {
  const normal = applyOp('normalize', [x], { axes: [0, 2, 3], epsilon: EPSILON });
  return affine(weights, normal, [1, x.type.shape[1] ?? 1, 1, 1]);
}

function residual(weights: Weights, x: GraphNode, outputs: number, stride: number): GraphNode {
  let y = relu(batchNorm(weights, conv(weights, x, outputs, { kernel: 3, stride })));
  y = batchNorm(weights, conv(weights, y, outputs, { kernel: 3, stride: 1 }));
  const isSame = stride === 1 && x.type.shape[1] === outputs;
  const short = isSame ? x : conv(weights, x, outputs, { kernel: 1, stride });
  return relu(g.add(y, short));
}

/** ResNet-20 on images of 3 x 32 x 32. */
export function resnet20Step(batch: number): TrainStep {
  const weights = new Weights();
  let x: GraphNode = floats([batch, 3, 32, 32], 1, 99);
  x = relu(batchNorm(weights, conv(weights, x, STAGES[0], { kernel: 3, stride: 1 })));
  for (const outputs of STAGES) {
    for (let block = 0; block < BLOCKS; block++) {
      x = residual(weights, x, outputs, block === 0 && outputs !== STAGES[0] ? 2 : 1);
    }
  }
  const [, , height = 1, width = 1] = x.type.shape;
  const pooled = applyOp('mean', [x], { axes: [2, 3], keepDims: false, count: height * width });
  return finish(`resnet-20, batch ${batch}`, weights, linear(weights, pooled, CLASSES));
}

function layerNorm(weights: Weights, x: GraphNode): GraphNode {
  const axis = x.type.shape.length - 1;
  const normal = applyOp('normalize', [x], { axes: [axis], epsilon: EPSILON });
  return affine(weights, normal, [x.type.shape[axis] ?? 1]);
}

/** x · Wᵀ + b over the last axis. */
function dense(weights: Weights, x: GraphNode, outputs: number): GraphNode {
  const inputs = x.type.shape[x.type.shape.length - 1] ?? 1;
  return g.add(g.matMul(x, weights.make(outputs, inputs), false, true), weights.make(outputs));
}

/** 0.5·x·(1 + erf(x/√2)) */
function gelu(x: GraphNode): GraphNode {
  const erf = applyOp('erf', [g.scale(x, Math.SQRT1_2)], {});
  return g.mul(g.scale(x, 0.5), g.add(erf, g.scalar(1)));
}

function attention(weights: Weights, x: GraphNode, heads: number): GraphNode {
  const [batch = 1, steps = 1, width = 1] = x.type.shape;
  const packed = dense(weights, x, 3 * width);
  const [q, k, v] = [0, 1, 2].map((part) => {
    const own = g.sliceAxis(packed, 2, part * width, (part + 1) * width);
    return g.transpose(g.reshape(own, [batch, steps, heads, width / heads]), [0, 2, 1, 3]);
  }) as [GraphNode, GraphNode, GraphNode];
  const scores = g.scale(g.matMul(q, k, false, true), 1 / Math.sqrt(width / heads));
  const row = applyOp('iota', [], { shape: [steps, steps], axis: 0 });
  const column = applyOp('iota', [], { shape: [steps, steps], axis: 1 });
  const masked = g.where(g.binary('less', row, column), g.scalar(-1e9), scores);
  const shares = applyOp('softmax', [masked], { axis: 3 });
  const mixed = g.reshape(g.transpose(g.matMul(shares, v), [0, 2, 1, 3]), x.type.shape);
  return dense(weights, mixed, width);
}

/** Four pre-norm blocks of width 128 with four heads over sequences of 128, and a class for every token. */
export function transformerStep(batch: number): TrainStep {
  const [steps, width, layers, heads] = [128, 128, 4, 4];
  const weights = new Weights();
  let x: GraphNode = floats([batch, steps, width], 1, 99);
  for (let layer = 0; layer < layers; layer++) {
    x = g.add(x, attention(weights, layerNorm(weights, x), heads));
    const inner = gelu(dense(weights, layerNorm(weights, x), 4 * width));
    x = g.add(x, dense(weights, inner, width));
  }
  const logits = dense(weights, layerNorm(weights, x), CLASSES);
  const flat = g.reshape(logits, [batch * steps, CLASSES]);
  return finish(`transformer, batch ${batch}`, weights, flat);
}
