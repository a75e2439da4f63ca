/**
 * @file Builds graph nodes without pointless ones: adding zeros, multiplying by ones, summing one element,
 * copying a broadcast that the next op does by itself. Not an optimiser: it looks one node deep.
 */
import type { DType, OpName, OpParams, Shape } from '@ravenlab/protocol';
import { broadcastShapes, reducedShape, sameShape, sizeOf } from '@ravenlab/protocol';
import type { GraphNode } from './node.js';
import { applyOp, inputOf, isOp } from './node.js';

const NONE = {} as const;
type Binary = 'add' | 'sub' | 'mul' | 'div' | 'pow' | 'maximum' | 'minimum';
type Compare = 'equal' | 'notEqual' | 'greater' | 'greaterEqual' | 'less' | 'lessEqual';
type Unary = 'neg' | 'sign' | 'exp' | 'log' | 'sqrt' | 'rsqrt' | 'sin' | 'cos' | 'tanh' | 'sigmoid';

/** Value of a float32 `full`, null for any other node. */
export function constantOf(node: GraphNode): number | null {
  return isOp(node, 'full') && node.type.dtype === 'float32' ? node.params.value : null;
}

const FOLD: Readonly<Record<'add' | 'sub' | 'mul' | 'div', (a: number, b: number) => number>> = {
  add: (a, b) => a + b,
  sub: (a, b) => a - b,
  mul: (a, b) => a * b,
  div: (a, b) => a / b,
};

/** All nodes that one builder makes carry the same origin. */
export class GraphBuilder {
  readonly origin: unknown;

  constructor(origin?: unknown) {
    this.origin = origin;
  }

  apply<N extends OpName>(op: N, inputs: readonly GraphNode[], params: OpParams[N]): GraphNode {
    return applyOp(op, inputs, params, this.origin);
  }

  full(shape: Shape, value: number, dtype: DType = 'float32'): GraphNode {
    return this.apply('full', [], { shape, dtype, value });
  }

  scalar(value: number): GraphNode {
    return this.full([], value);
  }

  add(a: GraphNode, b: GraphNode): GraphNode {
    if (constantOf(a) === 0) return this.arithmetic('add', b, a, 0);
    return this.arithmetic('add', a, b, 0);
  }

  sub(a: GraphNode, b: GraphNode): GraphNode {
    return this.arithmetic('sub', a, b, 0);
  }

  mul(a: GraphNode, b: GraphNode): GraphNode {
    if (constantOf(a) === 1) return this.arithmetic('mul', b, a, 1);
    return this.arithmetic('mul', a, b, 1);
  }

  div(a: GraphNode, b: GraphNode): GraphNode {
    return this.arithmetic('div', a, b, 1);
  }

  /** x · factor. */
  scale(x: GraphNode, factor: number): GraphNode {
    return this.mul(x, this.scalar(factor));
  }

  binary(op: Binary | Compare, a: GraphNode, b: GraphNode): GraphNode {
    const [x, y] = this.loosen(op, a, b);
    return this.apply(op, [x, y], NONE);
  }

  unary(op: Unary, x: GraphNode): GraphNode {
    const constant = op === 'neg' ? constantOf(x) : null;
    if (constant !== null) return this.full(x.type.shape, -constant);
    return this.apply(op, [x], NONE);
  }

  where(condition: GraphNode, a: GraphNode, b: GraphNode): GraphNode {
    return this.apply('where', [condition, a, b], NONE);
  }

  matMul(a: GraphNode, b: GraphNode, transposeA = false, transposeB = false): GraphNode {
    return this.apply('matMul', [a, b], { transposeA, transposeB });
  }

  /** Sum over `axes` (sorted, unique); axes of extent 1 are only reshaped away. */
  sum(x: GraphNode, axes: readonly number[], keepDims = false): GraphNode {
    const { shape } = x.type;
    const real = axes.filter((axis) => shape[axis] !== 1);
    const target = reducedShape(shape, axes, keepDims);
    if (real.length === 0) return this.reshape(x, target);
    const constant = constantOf(x);
    if (constant !== null) {
      const repeats = sizeOf(shape) / Math.max(1, sizeOf(target));
      return this.full(target, constant * repeats);
    }
    if (keepDims) return this.apply('sum', [x], { axes: real, keepDims });
    return this.reshape(this.apply('sum', [x], { axes: real, keepDims }), target);
  }

  reshape(x: GraphNode, shape: Shape): GraphNode {
    if (sameShape(x.type.shape, shape)) return x;
    const constant = constantOf(x);
    if (constant !== null) return this.full(shape, constant);
    return this.apply('reshape', [isOp(x, 'reshape') ? inputOf(x, 0) : x], { shape });
  }

  transpose(x: GraphNode, perm: readonly number[]): GraphNode {
    if (perm.every((axis, index) => axis === index)) return x;
    return this.apply('transpose', [x], { perm });
  }

  broadcastTo(x: GraphNode, shape: Shape): GraphNode {
    if (sameShape(x.type.shape, shape)) return x;
    const constant = constantOf(x);
    if (constant !== null) return this.full(shape, constant);
    return this.apply('broadcastTo', [x], { shape });
  }

  /** Adjoint of broadcasting from `shape` to x.shape: sums what was repeated. */
  sumTo(x: GraphNode, shape: Shape): GraphNode {
    const from = x.type.shape;
    if (sameShape(from, shape)) return x;
    const lead = from.length - shape.length;
    const axes = from.flatMap((extent, axis) =>
      axis < lead || (shape[axis - lead] === 1 && extent !== 1) ? [axis] : [],
    );
    return this.reshape(this.sum(x, axes, lead === 0), shape);
  }

  /** Elements `begin` … `end` of one axis. */
  sliceAxis(x: GraphNode, axis: number, begin: number, end: number): GraphNode {
    const { shape } = x.type;
    if (begin === 0 && end === shape[axis]) return x;
    return this.apply('slice', [x], {
      begin: shape.map((_, i) => (i === axis ? begin : 0)),
      end: shape.map((extent, i) => (i === axis ? end : extent)),
      step: shape.map(() => 1),
    });
  }

  padZeros(x: GraphNode, before: readonly number[], after: readonly number[]): GraphNode {
    if (before.every((n) => n === 0) && after.every((n) => n === 0)) return x;
    return this.apply('pad', [x], { before, after, value: 0 });
  }

  concat(parts: readonly GraphNode[], axis: number): GraphNode {
    const [only] = parts;
    if (only !== undefined && parts.length === 1) return only;
    return this.apply('concat', parts, { axis });
  }

  /** `neutral` is the value of `b` that leaves `a` as it is. */
  private arithmetic(
    op: keyof typeof FOLD,
    a: GraphNode,
    b: GraphNode,
    neutral: number,
  ): GraphNode {
    const left = constantOf(a);
    const right = constantOf(b);
    if (left !== null && right !== null) {
      const folded = FOLD[op](left, right);
      // What is not finite stays an op: a worker must meet it, so that the error can name it.
      if (Number.isFinite(folded)) {
        return this.full(broadcastShapes(op, a.type.shape, b.type.shape), folded);
      }
    }
    if (right === neutral) {
      return this.broadcastTo(a, broadcastShapes(op, a.type.shape, b.type.shape));
    }
    if (op === 'sub' && left === 0) {
      return this.unary(
        'neg',
        this.broadcastTo(b, broadcastShapes(op, a.type.shape, b.type.shape)),
      );
    }
    return this.binary(op, a, b);
  }

  /** Operands without the broadcasts that the op itself repeats. */
  private loosen(op: string, a: GraphNode, b: GraphNode): [GraphNode, GraphNode] {
    const shape = broadcastShapes(op, a.type.shape, b.type.shape);
    const x = this.narrow(a, b.type.shape, shape);
    return [x, this.narrow(b, x.type.shape, shape)];
  }

  private narrow(x: GraphNode, other: Shape, result: Shape): GraphNode {
    const constant = constantOf(x);
    if (constant !== null) {
      return x.type.shape.length > 0 && sameShape(other, result) ? this.scalar(constant) : x;
    }
    if (!isOp(x, 'broadcastTo')) return x;
    const source = inputOf(x, 0);
    return sameShape(broadcastShapes('broadcastTo', source.type.shape, other), result) ? source : x;
  }
}
