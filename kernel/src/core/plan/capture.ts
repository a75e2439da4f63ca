/**
 * @file A traced graph in canonical form: what is unused or computed twice is gone, values are numbered by structure,
 * leaves and changing scalars are inputs. Two traces with the same skeleton are the same program.
 */
import type { AnyParams, OpName, Program, ProgramNode, TensorType } from '@ravenlab/protocol';
import { LIMITS, OP_NAMES, RavenError, opRow, sameShape } from '@ravenlab/protocol';
import type { GraphNode, LeafNode, OpNode } from '../graph/node.js';
import { inputOf, paramsOf, postOrder } from '../graph/node.js';

/** One distinct value of a trace. `inputs` are positions in `Trace.values`. */
export interface TraceValue {
  readonly node: LeafNode | OpNode;
  readonly inputs: readonly number[];
  /** Position among the holes of the skeleton: a rank-0 float32 constant; -1 for all other values. */
  readonly hole: number;
}

export interface Trace {
  readonly values: readonly TraceValue[];
  /** Value of each requested output; may repeat. */
  readonly outputs: readonly number[];
  /** The whole trace but for leaf identities and hole values. */
  readonly skeleton: string;
  /** Value of each hole, in order. */
  readonly scalars: readonly number[];
}

/** Wire codes of ops are shorter than their names, and as stable. */
const OP_CODES = new Map<OpName, number>(OP_NAMES.map((name, code) => [name, code]));
const FIELD_NAMES = new Map<OpName, readonly string[]>(
  OP_NAMES.map((name) => [name, Object.keys(opRow(name).params)]),
);

/**
 * Canonical form of everything `outputs` depend on.
 * @throws RavenError `limit` when the graph is larger than a program may be.
 */
export function trace(outputs: readonly GraphNode[]): Trace {
  const values: TraceValue[] = [];
  const scalars: number[] = [];
  const skeleton: string[] = [];
  const ids = new Map<GraphNode, number>();
  const byKey = new Map<string, number>();
  const leaves = new LeafNames();
  const idOf = (node: GraphNode): number => {
    const id = ids.get(node);
    if (id === undefined) throw new RavenError('internal', 'trace: input after its user');
    return id;
  };
  for (const node of postOrder(outputs)) {
    if (node.kind === 'stop' || isIdentity(node)) {
      ids.set(node, idOf(inputOf(node, 0)));
      continue;
    }
    const inputs = node.inputs.map(idOf);
    const isHole = isScalar(node);
    const key = node.kind === 'leaf' ? leaves.nameOf(node) : opKey(node, inputs);
    const known = byKey.get(key);
    if (known !== undefined) {
      ids.set(node, known);
      continue;
    }
    ids.set(node, values.length);
    byKey.set(key, values.length);
    values.push({ node, inputs, hole: isHole ? scalars.length : -1 });
    skeleton.push(isHole ? '?' : node.kind === 'leaf' ? leafSignature(node) : key);
    if (isHole) scalars.push(scalarOf(node));
  }
  const results = outputs.map(idOf);
  skeleton.push(`>${results.join()}`);
  requireFit(values.length, LIMITS.programNodes, 'nodes');
  return { values, outputs: results, skeleton: skeleton.join(';'), scalars };
}

function requireFit(count: number, limit: number, what: string): void {
  if (count <= limit) return;
  throw new RavenError(
    'limit',
    `the traced graph has ${String(count)} ${what}, at most ${String(limit)} fit one program; ` +
      'await an intermediate value (`await t.data()`) to cut it in two',
    { meta: { count, limit } },
  );
}

/** Ops that would only copy their input. */
function isIdentity(node: GraphNode): boolean {
  if (node.kind !== 'op') return false;
  switch (node.op) {
    case 'reshape':
    case 'broadcastTo':
      return sameShape(node.type.shape, inputOf(node, 0).type.shape);
    case 'cast':
      return node.type.dtype === inputOf(node, 0).type.dtype;
    default:
      return false;
  }
}

/** A constant that may turn out to change from step to step: a learning rate, a schedule, a temperature. */
function isScalar(node: GraphNode): node is OpNode<'full'> {
  return (
    node.kind === 'op' &&
    node.op === 'full' &&
    node.type.dtype === 'float32' &&
    node.type.shape.length === 0
  );
}

function scalarOf(node: OpNode): number {
  const { value } = paramsOf(node);
  return typeof value === 'number' ? value : NaN;
}

function opKey(node: OpNode, inputs: readonly number[]): string {
  const params = paramsOf(node);
  let key = `${String(OP_CODES.get(node.op))}(${inputs.join()}`;
  for (const name of FIELD_NAMES.get(node.op) ?? []) {
    const value = params[name];
    // -0 and 0 print alike but are different constants.
    key += Object.is(value, -0) ? '|-0' : `|${String(value)}`;
  }
  return key;
}

/** What a program knows of a leaf: its type and how its batch is cut, not which tensor it is. */
function leafSignature({ leaf, type }: LeafNode): string {
  const batch =
    leaf.kind === 'rows' ? (leaf.batched ? 0 : -1) : leaf.kind === 'inline' ? leaf.batchAxis : -1;
  return `${leaf.kind}@${String(batch)}:${type.dtype}[${type.shape.join()}]`;
}

/** Names that are equal for leaves with equal content, so that one tensor used twice is one input. */
class LeafNames {
  private readonly arrays = new Map<ArrayLike<number>, number>();

  nameOf(node: LeafNode): string {
    const { leaf } = node;
    switch (leaf.kind) {
      case 'state':
        return `s${String(leaf.stateId)}@${String(leaf.version)}`;
      case 'rows':
        return `r${String(leaf.dataId)}#${this.idOf(leaf.indices)}${leaf.batched ? 'b' : ''}`;
      case 'data':
        return `d${String(leaf.dataId)}`;
      case 'inline':
        return `i${this.idOf(leaf.data)}${leafSignature(node)}`;
      case 'key':
        return `k${[leaf.seedLow, leaf.seedHigh, leaf.step].join()}`;
    }
  }

  private idOf(array: ArrayLike<number>): string {
    const id = this.arrays.get(array) ?? this.arrays.size;
    this.arrays.set(array, id);
    return String(id);
  }
}

/** A program with the way back to its trace. */
export interface CapturedProgram {
  readonly program: Program;
  /** Trace value behind each program input: a leaf, or a hole that became a slot. */
  readonly inputs: readonly number[];
  /** Trace value behind each program node. */
  readonly nodes: readonly number[];
  /** Position among the program's outputs of each requested output. */
  readonly outputIndex: readonly number[];
}

/**
 * The program of a trace; holes with `isSlot` become inputs, the others constants.
 * @throws RavenError `limit` for more inputs or outputs than a program may have.
 */
export function programOf(source: Trace, isSlot: readonly boolean[]): CapturedProgram {
  const { values } = source;
  const isInput = values.map(
    ({ node, hole }) => node.kind === 'leaf' || (hole >= 0 && isSlot[hole] === true),
  );
  const inputs = values.flatMap((_, id) => (isInput[id] === true ? [id] : []));
  const nodes = values.flatMap((_, id) => (isInput[id] === true ? [] : [id]));
  const programId = new Array<number>(values.length).fill(-1);
  inputs.forEach((id, position) => (programId[id] = position));
  nodes.forEach((id, position) => (programId[id] = inputs.length + position));
  const resultOf = new Map<number, number>();
  const outputIndex = source.outputs.map((id) => {
    const index = resultOf.get(id) ?? resultOf.size;
    resultOf.set(id, index);
    return index;
  });
  requireFit(inputs.length, LIMITS.programInputs, 'inputs');
  requireFit(resultOf.size, LIMITS.programOutputs, 'outputs');
  return {
    program: {
      inputs: inputs.map((id) => typeOf(source, id)),
      nodes: nodes.map((id) => programNode(source, id, programId)),
      outputs: [...resultOf.keys()].map((id) => programId[id] ?? -1),
    },
    inputs,
    nodes,
    outputIndex,
  };
}

function typeOf(source: Trace, id: number): TensorType {
  return valueOf(source, id).node.type;
}

export function valueOf(source: Trace, id: number): TraceValue {
  const value = source.values[id];
  if (value === undefined) throw new RavenError('internal', `trace has no value ${String(id)}`);
  return value;
}

function programNode(source: Trace, id: number, programId: readonly number[]): ProgramNode {
  const { node, inputs } = valueOf(source, id);
  if (node.kind !== 'op') throw new RavenError('internal', 'trace: a leaf is not a program node');
  const params: AnyParams = paramsOf(node);
  return {
    op: node.op,
    inputs: inputs.map((input) => programId[input] ?? -1),
    params,
    type: node.type,
  };
}
