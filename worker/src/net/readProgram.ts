/** @file PROGRAM checked: its hash, its bytes, its shapes; and what the lease machine needs to know of it. */
import { createHash } from 'node:crypto';
import type { ProgramHash } from '@ravenlab/protocol';
import { decodeProgram, programCost, toWireError, valueType } from '@ravenlab/protocol';
import { peakBytes } from '../core/peakBytes.js';
import { quickUnits } from '../core/quickUnits.js';
import type { ProgramEntry } from '../core/state.js';

/** Never throws on bytes: what is no program is an entry that says so. */
export function readProgram(hash: ProgramHash, bytes: Uint8Array): ProgramEntry {
  const actual = createHash('sha256').update(bytes).digest('hex');
  if (actual !== hash) {
    const message = `the program's hash is ${actual}, PROGRAM says ${hash}`;
    return {
      kind: 'refused',
      error: { code: 'program', message, fault: 'remote', retryable: false },
    };
  }
  const decoded = decodeProgram(bytes);
  if (!decoded.ok) return { kind: 'refused', error: toWireError(decoded.error) };
  const program = decoded.value;
  return {
    kind: 'known',
    info: {
      hash,
      inputs: program.inputs,
      outputs: program.outputs.map((id) => valueType(program, id)),
      peakBytes: peakBytes(program),
      quickUnits: quickUnits(program),
      work: programCost(program),
    },
  };
}
