/** @file How the API adds a node to the graph: dtype promotion, constants, and where in the cell it happened. */
import type { DType, OpName, OpParams, Shape } from '@ravenlab/protocol';
import type { GraphNode } from '../core/graph/node.js';
import { applyOp } from '../core/graph/node.js';

/** Frames kept of a node's origin: enough to leave a nested module and reach the cell. */
const ORIGIN_FRAMES = 32;

/**
 * A stack costs 4 µs and 1 µs a frame, more than tracing the node itself. A training loop retraces the same lines each
 * step, so origins are recorded only while programs are still new, and found again by position in the program.
 */
const origins = { recorded: true };

export function recordOrigins(recorded: boolean): void {
  origins.recorded = recorded;
}

/** An unformatted stack (V8 formats it when `.stack` is read), or undefined while origins are not recorded. */
function captureOrigin(): Error | undefined {
  if (!origins.recorded) return undefined;
  const before = Error.stackTraceLimit;
  Error.stackTraceLimit = ORIGIN_FRAMES;
  const origin = new Error();
  Error.stackTraceLimit = before;
  return origin;
}

const CELL_FRAME = /(cell\[[^\]]*\]\.ts):(\d+)/;

/** `cell[3].ts:7`, or null when the origin has no frame in a cell. */
export function originLine(origin: unknown): string | null {
  if (!(origin instanceof Error)) return null;
  const frame = CELL_FRAME.exec(origin.stack ?? '');
  return frame === null ? null : `${frame[1] ?? ''}:${frame[2] ?? ''}`;
}

/** Adds one op. @throws ShapeError naming the op, the shapes and what to do. */
export function emit<N extends OpName>(
  op: N,
  inputs: readonly GraphNode[],
  params: OpParams[N],
): GraphNode {
  return applyOp(op, inputs, params, captureOrigin());
}

export function constant(value: number, dtype: DType = 'float32', shape: Shape = []): GraphNode {
  return emit('full', [], { shape, dtype, value });
}

export function castTo(x: GraphNode, dtype: DType): GraphNode {
  return x.type.dtype === dtype ? x : emit('cast', [x], { dtype });
}

const RANK: Readonly<Record<DType, number>> = { bool: 0, int32: 1, float32: 2 };

/** Both operands in the wider dtype: bool < int32 < float32, and at least `least`. */
function promote(
  a: GraphNode,
  b: GraphNode,
  least: DType = 'bool',
): readonly [GraphNode, GraphNode] {
  let dtype = RANK[a.type.dtype] >= RANK[b.type.dtype] ? a.type.dtype : b.type.dtype;
  if (RANK[dtype] < RANK[least]) dtype = least;
  return [castTo(a, dtype), castTo(b, dtype)];
}

/** A number beside a tensor takes the tensor's dtype, unless it is a fraction beside integers. */
export function scalarLike(value: number, like: GraphNode): GraphNode {
  const { dtype } = like.type;
  return constant(value, dtype === 'float32' || !Number.isInteger(value) ? 'float32' : 'int32');
}

type BinaryOp = 'add' | 'sub' | 'mul' | 'div' | 'pow' | 'maximum' | 'minimum';
type CompareOp = 'equal' | 'notEqual' | 'less' | 'lessEqual' | 'greater' | 'greaterEqual';

const LEAST: Readonly<Record<BinaryOp | CompareOp, DType>> = {
  add: 'int32',
  sub: 'int32',
  mul: 'int32',
  div: 'float32',
  pow: 'float32',
  maximum: 'int32',
  minimum: 'int32',
  equal: 'bool',
  notEqual: 'bool',
  less: 'int32',
  lessEqual: 'int32',
  greater: 'int32',
  greaterEqual: 'int32',
};

/** An elementwise op of two operands with PyTorch's dtype promotion. */
export function binary(op: BinaryOp | CompareOp, a: GraphNode, b: GraphNode): GraphNode {
  return emit(op, promote(a, b, LEAST[op]), {});
}

export function reshape(x: GraphNode, shape: Shape): GraphNode {
  return emit('reshape', [x], { shape });
}

export function transpose(x: GraphNode, perm: readonly number[]): GraphNode {
  return emit('transpose', [x], { perm });
}

export const add = (a: GraphNode, b: GraphNode): GraphNode => binary('add', a, b);
export const sub = (a: GraphNode, b: GraphNode): GraphNode => binary('sub', a, b);
export const mul = (a: GraphNode, b: GraphNode): GraphNode => binary('mul', a, b);
export const scale = (x: GraphNode, by: number): GraphNode => mul(x, scalarLike(by, x));
