/** @file The program: a straight-line list of ops on typed slots. The only thing a worker executes. */
import type { TensorType } from './shape.js';
import { formatShape, sameShape } from './shape.js';
import { RavenError, RemoteProtocolError } from './errors.js';
import type { AnyParams, OpCost, OpName } from './ops/table.js';
import { inferOp, opCost } from './ops/table.js';
import { LIMITS } from './limits.js';

/** Version of op semantics and encoding; part of every program hash. */
export const IR_VERSION = 1;

/**
 * One op applied to earlier values. Value ids: 0 … inputs-1 are the program's inputs, inputs + i is the result of node i.
 */
export interface ProgramNode {
  readonly op: OpName;
  readonly inputs: readonly number[];
  readonly params: AnyParams;
  readonly type: TensorType;
}

export interface Program {
  /** Slots filled at run time: weights, batches, RNG keys, scalars that change. */
  readonly inputs: readonly TensorType[];
  readonly nodes: readonly ProgramNode[];
  /** Value ids, in result order; a value may be listed once only. */
  readonly outputs: readonly number[];
}

/** Type of value `id`. @throws RemoteProtocolError when the program has no such value. */
export function valueType(program: Program, id: number): TensorType {
  const type =
    id < program.inputs.length ? program.inputs[id] : program.nodes[id - program.inputs.length]?.type;
  if (type === undefined) {
    throw new RemoteProtocolError(`program has no value ${String(id)}`, { id });
  }
  return type;
}

/**
 * Checks that a program is well formed: bounds, definition before use, inferred types equal the stated ones, RNG keys
 * are inputs. Run on every program that crosses a process boundary.
 * @throws RemoteProtocolError with the first violation.
 */
export function verifyProgram(program: Program): void {
  if (program.nodes.length > LIMITS.programNodes) {
    refuse(`${String(program.nodes.length)} nodes, at most ${String(LIMITS.programNodes)} are allowed`);
  }
  if (program.outputs.length === 0 || program.outputs.length > LIMITS.programOutputs) {
    refuse(`${String(program.outputs.length)} outputs, expected 1 … ${String(LIMITS.programOutputs)}`);
  }
  program.nodes.forEach((node, index) => {
    verifyNode(program, node, index);
  });
  const seen = new Set<number>();
  for (const id of program.outputs) {
    valueType(program, id);
    if (seen.has(id)) refuse(`value ${String(id)} is listed twice as output`);
    seen.add(id);
  }
}

function verifyNode(program: Program, node: ProgramNode, index: number): void {
  const self = program.inputs.length + index;
  for (const id of node.inputs) {
    if (!Number.isInteger(id) || id < 0 || id >= self) {
      refuse(`node ${String(index)} (${node.op}) reads value ${String(id)} before it is defined`);
    }
  }
  if (node.op === 'randomUniform' && (node.inputs[0] ?? self) >= program.inputs.length) {
    refuse(`node ${String(index)}: the key of randomUniform must be a program input`);
  }
  const types = node.inputs.map((id) => valueType(program, id));
  let inferred: TensorType;
  try {
    inferred = inferOp(node.op, types, node.params as never);
  } catch (error) {
    if (error instanceof RavenError) refuse(`node ${String(index)}: ${error.message}`);
    throw error;
  }
  if (inferred.dtype !== node.type.dtype || !sameShape(inferred.shape, node.type.shape)) {
    refuse(
      `node ${String(index)} (${node.op}) states ${node.type.dtype} ${formatShape(node.type.shape)}, ` +
        `its inputs give ${inferred.dtype} ${formatShape(inferred.shape)}`,
    );
  }
}

function refuse(message: string): never {
  throw new RemoteProtocolError(`malformed program: ${message}`);
}

/** Deterministic cost of one run of the program: the unit of account, computed equally by engine and worker. */
export function programCost(program: Program): OpCost {
  let flops = 0;
  let bytes = 0;
  for (const node of program.nodes) {
    const inputs = node.inputs.map((id) => valueType(program, id));
    const cost = opCost(node.op, inputs, node.type, node.params as never);
    flops += cost.flops;
    bytes += cost.bytes;
  }
  return { flops, bytes };
}
