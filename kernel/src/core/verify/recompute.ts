/**
 * @file The answer to some micro-shards, computed anew in float64: what decides between two strangers that contradict each other
 * when nobody else is here to ask. Plain data in and out, so that any thread may do it.
 */
import type { Program } from '@ravenlab/protocol';
import { DTYPE_BYTES, valueType, viewAs } from '@ravenlab/protocol';
import { runReference } from '../reference/runReference.js';
import type { Part } from './compare.js';
import { isClose } from './compare.js';

export interface DisputedUnits {
  readonly program: Program;
  /** All inputs of each micro-shard. */
  readonly shards: readonly (readonly ArrayLike<number>[])[];
  /** Outputs that are compared, in order. */
  readonly outputs: readonly {
    readonly output: number;
    /** Over all shards; else it is the first one's own. */
    readonly isSum: boolean;
  }[];
}

/** @returns the parts of an answer; null when the oracle cannot run it. */
export function recompute({ program, shards, outputs }: DisputedUnits): Part[] | null {
  try {
    const results = shards.map((inputs) => runReference(program, inputs));
    return outputs.map(({ output, isSum }): Part => {
      const [first, ...others] = results.map((values) => values[output] ?? []);
      const sum = Float64Array.from(first ?? []);
      for (const other of isSum ? others : []) {
        for (let at = 0; at < sum.length; at++) sum[at] = (sum[at] ?? 0) + (other[at] ?? 0);
      }
      const { dtype } = valueType(program, program.outputs[output] ?? -1);
      const bytes = new Uint8Array(sum.length * DTYPE_BYTES[dtype]);
      viewAs(dtype, bytes.buffer, 0, sum.length).set(sum);
      return { dtype, bytes };
    });
  } catch {
    return null;
  }
}

/**
 * Whether an answer is what was computed here, as far as rounding goes. Whole numbers are left out: where two values are equal but for
 * their rounding, which one is the larger may be told either way.
 * @returns null when nothing can be compared.
 */
export function agreesWith(truth: readonly Part[], said: readonly Part[]): boolean | null {
  if (truth.length !== said.length) return null;
  const isFloat = ({ dtype }: Part): boolean => dtype === 'float32';
  const floats = said.filter(isFloat);
  return floats.length === 0 ? null : isClose(floats, truth.filter(isFloat));
}
