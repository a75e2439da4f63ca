/** @file Finds the op that made a NaN or infinity: a program that tells, in one run, which values hold one. */
import type { AnyParams, OpName, Program, ProgramNode, TensorType } from '@ravenlab/protocol';
import { LIMITS, RavenError, inferOp, valueType } from '@ravenlab/protocol';

export interface Probe {
  /** Takes the inputs of the probed program; its only output is int32 `[values.length]`. */
  readonly program: Program;
  /** Value ids of the probed program, ascending: flag k is 1 if `values[k]` has a non-finite element, else 0. */
  readonly values: readonly number[];
  readonly probed: Program;
}

/** Nodes that one probed value costs: times zero, sum, reshape. */
const NODES_PER_VALUE = 3;
/** The zero in front; concat, compare and cast at the end. */
const FIXED_NODES = 4;

/**
 * Extends `program` with a flag for every float32 input and node. The flags are integers, so that the run itself is not
 * stopped for its NaNs. In a program too long for a flag a value, outputs have one and every k-th of the others.
 * @throws RavenError `limit` when the outputs alone do not fit.
 */
export function probeProgram(program: Program): Probe {
  const floats = floatValues(program);
  const outputs = new Set(program.outputs);
  const results = floats.filter((id) => outputs.has(id));
  const others = floats.filter((id) => !outputs.has(id));
  const room = Math.min(
    LIMITS.nodeInputs,
    Math.floor((LIMITS.programNodes - program.nodes.length - FIXED_NODES) / NODES_PER_VALUE),
  );
  if (results.length === 0 || room < results.length) {
    throw new RavenError(
      'limit',
      `a program of ${String(program.nodes.length)} nodes with ${String(results.length)} float32 outputs cannot be ` +
        `probed for non-finite values: there is room for ${String(room)} flags`,
    );
  }
  const stride = Math.ceil(others.length / Math.max(1, room - results.length));
  const sampled = others.filter((_, index) => room > results.length && index % stride === 0);
  const values = [...results, ...sampled].sort((a, b) => a - b);
  return { program: withFlags(program, values), values, probed: program };
}

/** Ops that hand on an infinity that was put in on purpose, like the -∞ of an attention mask. */
const CARRIES: ReadonlySet<OpName> = new Set<OpName>([
  ...(['where', 'add', 'sub', 'maximum', 'minimum', 'concat', 'pad'] as const),
  ...(['reshape', 'transpose', 'broadcastTo', 'slice', 'tile', 'reverse', 'gather'] as const),
]);

/**
 * The value to blame, by the flags of a probe: starting at the first non-finite output, the end of the chain of
 * non-finite values that led to it. Infinite constants and masks made of them are not blamed, nor are infinities that
 * no output depends on. Null if all outputs are finite.
 */
export function firstNonFinite(probe: Probe, flags: ArrayLike<number>): number | null {
  const { probed } = probe;
  const isBad = badValues(probe, flags);
  const isMeant = meantValues(probed, isBad);
  const isCulprit = (id: number): boolean => isBad[id] === true && isMeant[id] !== true;
  const bad = probed.outputs.find(isCulprit) ?? probed.outputs.find((id) => isBad[id] === true);
  if (bad === undefined) return null;
  let culprit: number = bad;
  for (;;) {
    const node = probed.nodes[culprit - probed.inputs.length];
    const next: number | undefined = node?.inputs.find(isCulprit);
    if (next === undefined) return culprit;
    culprit = next;
  }
}

/** Where there is no flag, a value counts as bad if one of its inputs is. */
function badValues({ probed, values }: Probe, flags: ArrayLike<number>): boolean[] {
  const flagged = new Map(values.map((id, k) => [id, flags[k] !== 0]));
  const isBad = probed.inputs.map((_, id) => flagged.get(id) ?? false);
  for (const { op, inputs } of probed.nodes) {
    const follows = (): boolean => inputs.some((input) => isBad[input] === true);
    // What hides a value that is not finite is no less on the way to it.
    const isHidden = op === 'finiteOr' && follows();
    isBad.push(isHidden || (flagged.get(isBad.length) ?? follows()));
  }
  return isBad;
}

function meantValues(probed: Program, isBad: readonly boolean[]): boolean[] {
  const isMeant = probed.inputs.map(() => false);
  for (const node of probed.nodes) {
    const id = isMeant.length;
    const infinite =
      typeof node.params['value'] === 'number' && !Number.isFinite(node.params['value']);
    const handsOn =
      CARRIES.has(node.op) &&
      node.inputs.every((input) => isBad[input] !== true || isMeant[input] === true) &&
      node.inputs.some((input) => isMeant[input] === true);
    isMeant.push(isBad[id] === true && (infinite || handsOn));
  }
  return isMeant;
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
