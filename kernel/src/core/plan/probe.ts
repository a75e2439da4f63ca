/** @file Finds the op that made a NaN or infinity: a program that tells, in one run, which values hold one. */
import type { AnyParams, OpName, Program, ProgramNode, TensorType } from '@ravenlab/protocol';
import { LIMITS, RavenError, inferOp, valueType } from '@ravenlab/protocol';

export interface Probe {
  /** Takes the inputs of the probed program; its only output is int32 `[values.length]`. */
  readonly program: Program;
  /** Value ids of the probed program, ascending: flag k is 1 if `values[k]` has a non-finite element, else 0. */
  readonly values: readonly number[];
}

/** Nodes that one probed value costs: times zero, sum, reshape. */
const NODES_PER_VALUE = 3;
/** The zero in front; concat, compare and cast at the end. */
const FIXED_NODES = 4;

/**
 * Extends `program` with a flag for every float32 input and node. The flags are integers, so that the run itself is not
 * stopped for its NaNs. A program too long for a flag a value gets one for every k-th; the last value always has one.
 * @throws RavenError `limit` when not a single flag fits.
 */
export function probeProgram(program: Program): Probe {
  const floats = floatValues(program);
  const room = Math.min(
    LIMITS.nodeInputs,
    Math.floor((LIMITS.programNodes - program.nodes.length - FIXED_NODES) / NODES_PER_VALUE),
  );
  if (room < 1) {
    throw new RavenError('limit', 'the program is too long to be probed for non-finite values');
  }
  const stride = Math.ceil(floats.length / room);
  // Counted from the end, so that the last value is always among them.
  const values = floats.filter((_, index) => (floats.length - 1 - index) % stride === 0);
  return { program: withFlags(program, values), values };
}

/** The first value that is not finite, by the flags of a probe; null if all are finite. */
export function firstNonFinite(probe: Probe, flags: ArrayLike<number>): number | null {
  const index = probe.values.findIndex((_, k) => flags[k] !== 0);
  return probe.values[index] ?? null;
}

function floatValues(program: Program): number[] {
  const count = program.inputs.length + program.nodes.length;
  const ids = Array.from({ length: count }, (_, id) => id);
  return ids.filter((id) => valueType(program, id).dtype === 'float32');
}

function withFlags(program: Program, values: readonly number[]): Program {
  const nodes: ProgramNode[] = [...program.nodes];
  const typeOf = (id: number): TensorType =>
    valueType({ inputs: program.inputs, nodes, outputs: [] }, id);
  const emit = (op: OpName, inputs: readonly number[], params: AnyParams): number => {
    const type = inferOp(op, inputs.map(typeOf), params as never);
    return program.inputs.length + nodes.push({ op, inputs, params, type }) - 1;
  };
  const zero = emit('full', [], { shape: [], dtype: 'float32', value: 0 });
  // 0·x is 0 for every finite x and NaN otherwise; a sum keeps NaN, a maximum might not.
  const terms = values.map((id) => {
    const axes = typeOf(id).shape.map((_, axis) => axis);
    const sum = emit('sum', [emit('mul', [id, zero], {})], { axes, keepDims: false });
    return emit('reshape', [sum], { shape: [1] });
  });
  const all = emit('concat', terms, { axis: 0 });
  const isNaN = emit('notEqual', [all, all], {});
  const flags = emit('cast', [isNaN], { dtype: 'int32' });
  return { inputs: program.inputs, nodes, outputs: [flags] };
}
