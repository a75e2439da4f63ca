/** @file Whole training steps as single programs, with data: what a worker runs for one micro-shard. */
import type { OpParams, Program, Shape, TensorData } from '@ravenlab/protocol';
import { sizeOf } from '@ravenlab/protocol';
import { backward } from '../../kernel/src/core/autograd/backward.js';
import { GraphBuilder } from '../../kernel/src/core/graph/build.js';
import type { GraphNode, LeafNode } from '../../kernel/src/core/graph/node.js';
import { applyOp, inlineLeaf } from '../../kernel/src/core/graph/node.js';
import { programOf, trace, valueOf } from '../../kernel/src/core/plan/capture.js';

export interface TrainStep {
  readonly name: string;
  /** Outputs: loss, then one gradient a weight. */
  readonly program: Program;
  readonly inputs: readonly TensorData[];
}

export const CLASSES = 10;
const NONE = {};
const g = new GraphBuilder();

/** Weights of a model in the making, in the order of their gradients. */
export class Weights {
  readonly leaves: LeafNode[] = [];

  make(...shape: number[]): LeafNode {
    const fanIn = sizeOf(shape.slice(1));
    const leaf = floats(shape, 1 / Math.sqrt(fanIn), this.leaves.length + 1);
    this.leaves.push(leaf);
    return leaf;
  }
}

/** Deterministic values in -size … size. */
export function floats(shape: Shape, size: number, seed: number): LeafNode {
  const data = Float32Array.from(
    { length: sizeOf(shape) },
    (_, i) => (((i * 7919 + seed * 104_729) % 2003) / 1001 - 1) * size,
  );
  return inlineLeaf(data, { dtype: 'float32', shape });
}

export function linear(weights: Weights, x: GraphNode, outputs: number): GraphNode {
  const inputs = x.type.shape[1] ?? 1;
  return g.add(g.matMul(x, weights.make(outputs, inputs), false, true), weights.make(outputs));
}

export function relu(x: GraphNode): GraphNode {
  return applyOp('relu', [x], NONE);
}

function conv(weights: Weights, x: GraphNode, outputs: number): GraphNode {
  const inputs = x.type.shape[1] ?? 1;
  const window: OpParams['conv2d'] = {
    stride: [1, 1],
    padding: [1, 1, 1, 1],
    dilation: [1, 1],
    groups: 1,
  };
  const y = applyOp('conv2d', [x, weights.make(outputs, inputs, 3, 3)], window);
  return g.add(y, g.reshape(weights.make(outputs), [1, outputs, 1, 1]));
}

function pool(x: GraphNode): GraphNode {
  return applyOp('maxPool2d', [x], { kernel: [2, 2], stride: [2, 2], padding: [0, 0, 0, 0] });
}

export function finish(name: string, weights: Weights, logits: GraphNode): TrainStep {
  const [batch = 1] = logits.type.shape;
  const labels = Int32Array.from({ length: batch }, (_, i) => (i * 7) % CLASSES);
  const target = inlineLeaf(labels, { dtype: 'int32', shape: [batch] });
  const chosen = g.mul(
    applyOp('logSoftmax', [logits], { axis: 1 }),
    applyOp('oneHot', [target], { depth: CLASSES }),
  );
  const total = g.unary('neg', g.sum(chosen, [1]));
  const loss = applyOp('mean', [total], { axes: [0], keepDims: false, count: batch });
  const gradients = backward(loss, weights.leaves).filter((gradient) => gradient !== null);
  const source = trace([loss, ...gradients]);
  const { program, inputs } = programOf(source, []);
  const data = inputs.map((id) => {
    const { node } = valueOf(source, id);
    if (node.kind !== 'leaf' || node.leaf.kind !== 'inline') throw new Error('a leaf without data');
    return node.leaf.data;
  });
  return { name, program, inputs: data };
}

/** 784 → 512 → 512 → 10. */
export function mlpStep(batch: number): TrainStep {
  const weights = new Weights();
  let x: GraphNode = floats([batch, 784], 1, 99);
  for (const width of [512, 512]) x = relu(linear(weights, x, width));
  return finish(`mlp, batch ${batch}`, weights, linear(weights, x, CLASSES));
}

/** 3x3 convolutions of 32 and 64 channels, each with pooling, then 128 → 10; images of 28 x 28. */
export function cnnStep(batch: number): TrainStep {
  const weights = new Weights();
  let x: GraphNode = floats([batch, 1, 28, 28], 1, 99);
  for (const channels of [32, 64]) x = pool(relu(conv(weights, x, channels)));
  const flat = g.reshape(x, [batch, sizeOf(x.type.shape.slice(1))]);
  const hidden = relu(linear(weights, flat, 128));
  return finish(`cnn, batch ${batch}`, weights, linear(weights, hidden, CLASSES));
}

/** Product of two square matrices. */
export function productStep(side: number): TrainStep {
  const type = { dtype: 'float32', shape: [side, side] } as const;
  const params = { transposeA: false, transposeB: false };
  const node = { op: 'matMul', inputs: [0, 1], params, type } as const;
  return {
    name: `sgemm ${side}, ${((2 * side ** 3) / 1e9).toFixed(2)} GFLOP`,
    program: { inputs: [type, type], nodes: [node], outputs: [2] },
    inputs: [0.5, 0.25].map((value) => new Float32Array(side * side).fill(value)),
  };
}
