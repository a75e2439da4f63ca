/** @file Gradient rows of matrix products, convolutions and pooling. */
import { sizeOf } from '@ravenlab/protocol';
import type { GraphBuilder } from '../graph/build.js';
import type { GraphNode, OpNode } from '../graph/node.js';
import { inputOf, isOp } from '../graph/node.js';
import type { GradRules } from './gradRule.js';
import { once } from './gradRule.js';

/** True for `[..., M, K] × [K, N]`: one weight for every leading index, the shape of a linear layer. */
function sharesWeight(node: OpNode<'matMul'>): boolean {
  const a = inputOf(node, 0).type.shape;
  return a.length > 2 && inputOf(node, 1).type.shape.length === 2 && !node.params.transposeA;
}

/** `[..., M, K]` → `[... · M, K]`: the leading axes join the contraction instead of being summed after it. */
function rowsOf(g: GraphBuilder, x: GraphNode): GraphNode {
  const columns = x.type.shape[x.type.shape.length - 1] ?? 1;
  const rows = sizeOf(x.type.shape.slice(0, -1));
  return g.reshape(x, [rows, columns]);
}

/** The gradient of a product of rounded operands is a product of rounded operands too. */
function alike(g: GraphBuilder, dy: GraphNode, node: OpNode): GraphNode {
  return node.inputs.every((input) => isOp(input, 'roundFloat16'))
    ? g.apply('roundFloat16', [dy], {})
    : dy;
}

// Y = A·B                        dA = dY·Bᵀ      dB = Aᵀ·dY
// Y = Aᵀ·B                       dA = B·dYᵀ      dB = A·dY
// Y = A·Bᵀ                       dA = dY·B       dB = dYᵀ·A
// Y = Aᵀ·Bᵀ                      dA = Bᵀ·dYᵀ     dB = dYᵀ·Aᵀ
function matMulGradA(g: GraphBuilder, gradient: GraphNode, node: OpNode<'matMul'>): GraphNode {
  const { transposeA, transposeB } = node.params;
  const dy = alike(g, gradient, node);
  const a = inputOf(node, 0);
  const b = inputOf(node, 1);
  if (sharesWeight(node)) {
    return g.reshape(g.matMul(rowsOf(g, dy), b, false, !transposeB), a.type.shape);
  }
  return transposeA ? g.matMul(b, dy, transposeB, true) : g.matMul(dy, b, false, !transposeB);
}

function matMulGradB(g: GraphBuilder, gradient: GraphNode, node: OpNode<'matMul'>): GraphNode {
  const { transposeA, transposeB } = node.params;
  const dy = alike(g, gradient, node);
  const shared = sharesWeight(node);
  const a = shared ? rowsOf(g, inputOf(node, 0)) : inputOf(node, 0);
  const flat = shared ? rowsOf(g, dy) : dy;
  return transposeB ? g.matMul(flat, a, true, transposeA) : g.matMul(a, flat, !transposeA, false);
}

function spatial(node: GraphNode): readonly number[] {
  return node.type.shape.slice(2);
}

export const LINEAR_GRADS = {
  matMul: [matMulGradA, matMulGradB],

  // conv2d, its input gradient and its weight gradient are the three faces of one trilinear form in (x, w, dy):
  // the gradient of each with respect to an operand is another of the three.
  conv2d: [
    (g, dy, y) => {
      const params = { ...y.params, inputSize: spatial(inputOf(y, 0)) };
      return g.apply('conv2dGradInput', [alike(g, dy, y), inputOf(y, 1)], params);
    },
    (g, dy, y) => {
      const params = { ...y.params, kernelSize: spatial(inputOf(y, 1)) };
      return g.apply('conv2dGradWeight', [inputOf(y, 0), alike(g, dy, y)], params);
    },
  ],
  conv2dGradInput: [
    (g, dx, node) => g.apply('conv2d', [alike(g, dx, node), inputOf(node, 1)], windowOf(node)),
    (g, dx, node) => {
      const params = { ...windowOf(node), kernelSize: spatial(inputOf(node, 1)) };
      return g.apply('conv2dGradWeight', [alike(g, dx, node), inputOf(node, 0)], params);
    },
  ],
  conv2dGradWeight: [
    (g, dw, node) => {
      const params = { ...windowOf(node), inputSize: spatial(inputOf(node, 0)) };
      return g.apply('conv2dGradInput', [inputOf(node, 1), alike(g, dw, node)], params);
    },
    (g, dw, node) => g.apply('conv2d', [inputOf(node, 0), alike(g, dw, node)], windowOf(node)),
  ],

  maxPool2d: [(g, dy, y) => g.apply('maxPool2dGrad', [inputOf(y, 0), dy], y.params)],
  // Where the maximum sits does not move with x, almost everywhere.
  maxPool2dGrad: [null, once('maxPool2dGrad')],
  avgPool2d: [
    (g, dy, y) => {
      const params = { ...y.params, inputSize: spatial(inputOf(y, 0)) };
      return g.apply('avgPool2dGrad', [dy], params);
    },
  ],
  avgPool2dGrad: [
    (g, dx, node) => {
      const { kernel, stride, padding } = node.params;
      return g.apply('avgPool2d', [dx], { kernel, stride, padding });
    },
  ],
} satisfies Partial<GradRules>;

function windowOf(node: OpNode<'conv2dGradInput'> | OpNode<'conv2dGradWeight'>): {
  stride: readonly number[];
  padding: readonly number[];
  dilation: readonly number[];
  groups: number;
} {
  const { stride, padding, dilation, groups } = node.params;
  return { stride, padding, dilation, groups };
}
