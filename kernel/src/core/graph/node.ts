/** @file The graph that a cell builds: small frozen records. Not a tape, not a program: no order, no execution. */
import type {
  AnyParams,
  DataId,
  OpName,
  OpParams,
  StateId,
  StateVersion,
  TensorData,
  TensorType,
} from '@ravenlab/protocol';
import { RavenError, ShapeError, formatShape, inferOp, sizeOf } from '@ravenlab/protocol';

/** Where a leaf's value comes from; each kind becomes one kind of program input. */
export type Leaf =
  | { readonly kind: 'state'; readonly stateId: StateId; readonly version: StateVersion }
  /** Rows (axis 0) of a data tensor; `batched` rows are what micro-shards divide among them. */
  | {
      readonly kind: 'rows';
      readonly dataId: DataId;
      readonly indices: Int32Array;
      readonly batched: boolean;
    }
  | { readonly kind: 'data'; readonly dataId: DataId }
  /** A host array, row-major; `batchAxis` -1 if it belongs to no batch. The caller leaves `data` unchanged. */
  | { readonly kind: 'inline'; readonly data: TensorData; readonly batchAxis: number }
  /** int32[4] RNG key; its fourth word is the micro-shard's index, filled in when the unit runs. */
  | {
      readonly kind: 'key';
      readonly seedLow: number;
      readonly seedHigh: number;
      readonly step: number;
    };

interface NodeBase {
  /** Counts up in creation order: identity for people and prints. No algorithm orders by it. */
  readonly id: number;
  readonly inputs: readonly GraphNode[];
  readonly type: TensorType;
  /** Opaque to core: whatever the caller needs to find the cell's line again. */
  readonly origin: unknown;
}

export interface LeafNode extends NodeBase {
  readonly kind: 'leaf';
  readonly leaf: Leaf;
}

export interface OpNode<N extends OpName = OpName> extends NodeBase {
  readonly kind: 'op';
  readonly op: N;
  readonly params: OpParams[N];
}

/** Its input's value, through which no gradient flows; it costs nothing, a program has no such op. */
export interface StopNode extends NodeBase {
  readonly kind: 'stop';
}

export type GraphNode = LeafNode | OpNode | StopNode;

const NO_INPUTS: readonly GraphNode[] = Object.freeze([]);
const KEY_TYPE: TensorType = Object.freeze({ dtype: 'int32', shape: Object.freeze([4]) });
let nextId = 0;

/**
 * The result of one op on earlier nodes; its type is inferred, nothing is computed.
 * @throws ShapeError naming the op, the shapes and what to do.
 */
export function applyOp<N extends OpName>(
  op: N,
  inputs: readonly GraphNode[],
  params: OpParams[N],
  origin?: unknown,
): GraphNode {
  const type = inferOp(
    op,
    inputs.map((input) => input.type),
    params,
  );
  const node: OpNode<N> = { kind: 'op', id: nextId++, op, inputs, params, type, origin };
  return Object.freeze(node);
}

/** `node` cut off from differentiation: what `detach()` returns. */
export function stopGradient(node: GraphNode, origin?: unknown): StopNode {
  return Object.freeze({ kind: 'stop', id: nextId++, inputs: [node], type: node.type, origin });
}

function leafNode(leaf: Leaf, type: TensorType, origin: unknown): LeafNode {
  return Object.freeze({
    kind: 'leaf',
    id: nextId++,
    leaf: Object.freeze(leaf),
    inputs: NO_INPUTS,
    type,
    origin,
  });
}

/** A weight or running statistic at an explicit version. */
export function stateLeaf(
  stateId: StateId,
  version: StateVersion,
  type: TensorType,
  origin?: unknown,
): LeafNode {
  return leafNode({ kind: 'state', stateId, version }, type, origin);
}

/**
 * Rows `indices` of a data tensor of type `data`, in that order: `[indices.length, ...data.shape.slice(1)]`.
 * @throws ShapeError when the data has no rows or an index is outside them.
 */
export function rowsLeaf(
  dataId: DataId,
  data: TensorType,
  indices: Int32Array,
  batched = true,
  origin?: unknown,
): LeafNode {
  const [rows, ...row] = data.shape;
  if (rows === undefined) {
    throw new ShapeError('rows: a scalar has no rows; use the data tensor as a whole');
  }
  for (const index of indices) {
    if (index < 0 || index >= rows) {
      throw new ShapeError(
        `rows: index ${String(index)} is outside the ${String(rows)} rows of a data tensor of shape ${formatShape(data.shape)}`,
        { index, rows },
      );
    }
  }
  const type = { dtype: data.dtype, shape: [indices.length, ...row] };
  return leafNode({ kind: 'rows', dataId, indices, batched }, type, origin);
}

/** A data tensor as a whole. */
export function dataLeaf(dataId: DataId, type: TensorType, origin?: unknown): LeafNode {
  return leafNode({ kind: 'data', dataId }, type, origin);
}

/**
 * A host array as a tensor; `batchAxis` names the axis that micro-shards divide, -1 for none.
 * @throws ShapeError when the array's length is not the shape's size or the axis is not one of the shape's.
 */
export function inlineLeaf(
  data: TensorData,
  type: TensorType,
  batchAxis = -1,
  origin?: unknown,
): LeafNode {
  if (data.length !== sizeOf(type.shape)) {
    throw new ShapeError(
      `tensor: ${String(data.length)} values do not fill shape ${formatShape(type.shape)}, which has ${String(sizeOf(type.shape))} elements`,
      { length: data.length, shape: type.shape },
    );
  }
  if (!Number.isInteger(batchAxis) || batchAxis < -1 || batchAxis >= type.shape.length) {
    throw new ShapeError(
      `tensor: batch axis ${String(batchAxis)} is not an axis of ${formatShape(type.shape)}; expected -1 … ${String(type.shape.length - 1)}`,
      { batchAxis, shape: type.shape },
    );
  }
  return leafNode({ kind: 'inline', data, batchAxis }, type, origin);
}

/** The RNG key of one step; the input of `randomUniform`. Words are taken modulo 2³². */
export function keyLeaf(
  seedLow: number,
  seedHigh: number,
  step: number,
  origin?: unknown,
): LeafNode {
  const leaf: Leaf = {
    kind: 'key',
    seedLow: seedLow | 0,
    seedHigh: seedHigh | 0,
    step: step | 0,
  };
  return leafNode(leaf, KEY_TYPE, origin);
}

/** A one-line description for messages: `matMul float32 [32, 10]`. */
export function describeNode(node: GraphNode): string {
  return `${nodeName(node)} ${node.type.dtype} ${formatShape(node.type.shape)}`;
}

/** The op's name, the leaf's kind, or `stop`. */
export function nodeName(node: GraphNode): string {
  switch (node.kind) {
    case 'op':
      return node.op;
    case 'leaf':
      return node.leaf.kind;
    case 'stop':
      return 'stop';
  }
}

/** Narrows to the op `op` with its parameter types. */
export function isOp<N extends OpName>(node: GraphNode, op: N): node is OpNode<N> & GraphNode {
  return node.kind === 'op' && node.op === op;
}

/** Input `index` of a node whose arity is known. */
export function inputOf(node: GraphNode, index: number): GraphNode {
  const input = node.inputs[index];
  if (input === undefined) {
    throw new RavenError('internal', `${nodeName(node)} has no input ${String(index)}`);
  }
  return input;
}

/** Parameters with their names erased, for code that walks graphs. */
export function paramsOf(node: OpNode): AnyParams {
  return node.params;
}

/**
 * Every node that `outputs` depend on, each once, inputs before their users. The order depends on structure only,
 * never on creation order: depth first, inputs left to right. Iterative, so a chain of 20,000 nodes is fine.
 */
export function postOrder(outputs: readonly GraphNode[]): GraphNode[] {
  const order: GraphNode[] = [];
  const seen = new Set<GraphNode>();
  const stack: GraphNode[] = [];
  const next: number[] = [];
  const enter = (node: GraphNode): void => {
    if (seen.has(node)) return;
    seen.add(node);
    stack.push(node);
    next.push(0);
  };
  for (const output of outputs) {
    enter(output);
    for (let top = stack.length - 1; top >= 0; top = stack.length - 1) {
      const node = stack[top];
      const position = next[top] ?? 0;
      if (node === undefined) throw new RavenError('internal', 'empty traversal stack');
      const input = node.inputs[position];
      if (input === undefined) {
        order.push(node);
        stack.pop();
        next.pop();
      } else {
        next[top] = position + 1;
        enter(input);
      }
    }
  }
  return order;
}
