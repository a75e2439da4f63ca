/** @file Whether the inputs that a RUN names are the inputs that its program takes: every size, before anything is read. */
import type { RunInput, RunMerge, RunMessage, TensorType } from '@ravenlab/protocol';
import { byteSizeOf, formatShape, narrowRow, sameShape } from '@ravenlab/protocol';
import type { BlobKey, ProgramInfo } from './state.js';
import { blockKey, blocksOf, stateKey } from './state.js';

const KEY_WORDS = 4;

/** Bytes of a tensor that is here in full. */
export type HeldBytes = (key: BlobKey) => number | undefined;

/** The first thing that does not fit, in words; null when all do. */
export function misfit(run: RunMessage, info: ProgramInfo, held: HeldBytes): string | null {
  if (run.inputs.length !== info.inputs.length) {
    return `RUN gives ${String(run.inputs.length)} inputs, the program takes ${String(info.inputs.length)}`;
  }
  const problem = run.merge === null ? null : problemOfSums(run.merge, info);
  if (problem !== null) return problem;
  for (const [index, input] of run.inputs.entries()) {
    const type = info.inputs[index];
    const problem = type === undefined ? null : problemOf(input, type, run.units.length, held);
    if (type !== undefined && problem !== null) {
      return `input ${String(index)} (${type.dtype} ${formatShape(type.shape)}): ${problem}`;
    }
  }
  return null;
}

function problemOfSums({ sums }: RunMerge, { outputs }: ProgramInfo): string | null {
  if (sums.length !== outputs.length) {
    return `RUN merges ${String(sums.length)} outputs, the program has ${String(outputs.length)}`;
  }
  const at = sums.findIndex(
    (form, index) => narrowRow(form) !== null && outputs[index]?.dtype !== 'float32',
  );
  return at < 0
    ? null
    : `output ${String(at)} is ${String(outputs[at]?.dtype)}, and only float32 can be sent as ${String(sums[at])}`;
}

function problemOf(
  input: RunInput,
  type: TensorType,
  units: number,
  held: HeldBytes,
): string | null {
  switch (input.kind) {
    case 'state':
      return unequal('the state', held(stateKey(input)), byteSizeOf(type));
    case 'rows':
      return problemOfRows(input, type, units, held);
    case 'data': {
      const [rows = -1] = type.shape;
      return rows === input.dataRows
        ? problemOfBlocks(input, type, held)
        : `the data tensor has ${String(input.dataRows)} rows`;
    }
    case 'inline':
      return input.type.dtype === type.dtype && sameShape(input.type.shape, type.shape)
        ? null
        : `the value is ${input.type.dtype} ${formatShape(input.type.shape)}`;
    case 'key':
      return type.dtype === 'int32' && sameShape(type.shape, [KEY_WORDS])
        ? null
        : `an RNG key is int32[${String(KEY_WORDS)}]`;
  }
}

function problemOfRows(
  input: Extract<RunInput, { kind: 'rows' }>,
  type: TensorType,
  units: number,
  held: HeldBytes,
): string | null {
  const [rows = -1] = type.shape;
  const expected = input.perUnit ? rows * units : rows;
  if (input.indices.length !== expected) {
    return `${String(input.indices.length)} row indices, expected ${String(expected)}`;
  }
  return problemOfBlocks(input, type, held);
}

function problemOfBlocks(
  input: Extract<RunInput, { kind: 'rows' | 'data' }>,
  type: TensorType,
  held: HeldBytes,
): string | null {
  const rowBytes = byteSizeOf({ dtype: type.dtype, shape: type.shape.slice(1) });
  for (const ref of blocksOf(input)) {
    const rows = Math.min(input.blockRows, input.dataRows - ref.block * input.blockRows);
    const problem = unequal(`block ${String(ref.block)}`, held(blockKey(ref)), rows * rowBytes);
    if (problem !== null) return problem;
  }
  return null;
}

function unequal(what: string, actual: number | undefined, expected: number): string | null {
  if (actual === expected) return null;
  return `${what} has ${String(actual ?? 0)} bytes, expected ${String(expected)}`;
}
