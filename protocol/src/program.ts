/** @file The program: a straight-line list of ops on typed slots. The only thing a worker executes. */
import type { TensorType } from './shape.js';
import { formatShape, sameShape, sizeOf } from './shape.js';
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
  const inputs = program.inputs.length;
  const type = id < inputs ? program.inputs[id] : program.nodes[id - inputs]?.type;
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
  verifyCounts(program.inputs.length, program.nodes.length, program.outputs.length);
  const types: TensorType[] = [];
  program.inputs.forEach((type, index) => {
    verifyType('input', index, type);
    types.push(type);
  });
  program.nodes.forEach((node, index) => {
    const inferred = inferNode(node, index, types, program.inputs.length);
    if (inferred.dtype !== node.type.dtype || !sameShape(inferred.shape, node.type.shape)) {
      refuse(
        `node ${String(index)} (${node.op}) states ${node.type.dtype} ${formatShape(node.type.shape)}, ` +
          `its inputs give ${inferred.dtype} ${formatShape(inferred.shape)}`,
      );
    }
    types.push(inferred);
  });
  verifyOutputs(program.outputs, types.length);
}

/** @throws RemoteProtocolError when a count is out of bounds. */
export function verifyCounts(inputs: number, nodes: number, outputs: number): void {
  if (inputs > LIMITS.programInputs) {
    refuse(`${String(inputs)} inputs, at most ${String(LIMITS.programInputs)} are allowed`);
  }
  if (nodes > LIMITS.programNodes) {
    refuse(`${String(nodes)} nodes, at most ${String(LIMITS.programNodes)} are allowed`);
  }
  if (outputs === 0 || outputs > LIMITS.programOutputs) {
    refuse(`${String(outputs)} outputs, expected 1 … ${String(LIMITS.programOutputs)}`);
  }
}

/** @throws RemoteProtocolError when rank, an extent or the number of elements is out of bounds. */
export function verifyType(what: string, index: number, type: TensorType): void {
  const { shape } = type;
  if (shape.length > LIMITS.tensorRank) {
    refuse(
      `${what} ${String(index)} has rank ${String(shape.length)}, at most ${String(LIMITS.tensorRank)}`,
    );
  }
  if (shape.some((extent) => !Number.isSafeInteger(extent) || extent < 0)) {
    refuse(`${what} ${String(index)} has shape ${formatShape(shape)}; extents are integers ≥ 0`);
  }
  if (sizeOf(shape) > LIMITS.tensorElements) {
    refuse(
      `${what} ${String(index)} has shape ${formatShape(shape)}, more than ` +
        `${String(LIMITS.tensorElements)} elements`,
    );
  }
}

/**
 * Type that node `index` gives, once everything it reads is checked. `types` are those of the values before it.
 * @throws RemoteProtocolError
 */
export function inferNode(
  node: Omit<ProgramNode, 'type'>,
  index: number,
  types: readonly TensorType[],
  programInputs: number,
): TensorType {
  const operands = node.inputs.map((id) => {
    const type = types[id];
    if (type === undefined) {
      refuse(`node ${String(index)} (${node.op}) reads value ${String(id)} before it is defined`);
    }
    return type;
  });
  const [key = programInputs] = node.inputs;
  if (node.op === 'randomUniform' && key >= programInputs) {
    refuse(`node ${String(index)}: the key of randomUniform must be a program input`);
  }
  let inferred: TensorType;
  try {
    inferred = inferOp(node.op, operands, node.params as never);
  } catch (error) {
    if (error instanceof RavenError) refuse(`node ${String(index)}: ${error.message}`);
    throw error;
  }
  verifyType(node.op, index, inferred);
  return inferred;
}

/** @throws RemoteProtocolError when an output is not one of the `values` values or is listed twice. */
export function verifyOutputs(outputs: readonly number[], values: number): void {
  const seen = new Set<number>();
  for (const id of outputs) {
    if (!Number.isInteger(id) || id < 0 || id >= values) {
      refuse(`output ${String(id)} is not a value; there are ${String(values)}`);
    }
    if (seen.has(id)) refuse(`value ${String(id)} is listed twice as output`);
    seen.add(id);
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
