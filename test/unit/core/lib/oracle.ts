/** @file Evaluates graphs on the float64 oracle, with inputs in full float64 precision. */
import type { Shape } from '@ravenlab/protocol';
import { sizeOf } from '@ravenlab/protocol';
import type { GraphNode, LeafNode } from '../../../../kernel/src/core/graph/node.js';
import { inlineLeaf } from '../../../../kernel/src/core/graph/node.js';
import { programOf, trace, valueOf } from '../../../../kernel/src/core/plan/capture.js';
import type { Values } from '../../../../kernel/src/core/reference/arrays.js';
import { runReference } from '../../../../kernel/src/core/reference/runReference.js';

/** Values of leaves in float64; a leaf that is not listed uses its own data. */
export type Feeds = ReadonlyMap<GraphNode, ArrayLike<number>>;

/** Values of `outputs`. */
export function evaluate(outputs: readonly GraphNode[], feeds: Feeds = new Map()): Values[] {
  const source = trace(outputs);
  const captured = programOf(source, []);
  const inputs = captured.inputs.map((id) => {
    const { node } = valueOf(source, id);
    const fed = feeds.get(node);
    if (fed !== undefined) return fed;
    if (node.kind !== 'leaf' || node.leaf.kind !== 'inline') {
      throw new Error(`no value for leaf ${node.kind === 'leaf' ? node.leaf.kind : node.op}`);
    }
    return node.leaf.data;
  });
  const results = runReference(captured.program, inputs);
  return captured.outputIndex.map((index) => results[index]!);
}

/** Small deterministic generator (mulberry32): the same numbers on every machine and in every run. */
export function prng(seed: number): () => number {
  let state = seed | 0;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

export function floats(shape: Shape, seed: number, low = -1, high = 1): Float32Array {
  const random = prng(seed);
  return Float32Array.from({ length: sizeOf(shape) }, () => low + (high - low) * random());
}

export function floatLeaf(shape: Shape, data: ArrayLike<number>, batchAxis = -1): LeafNode {
  return inlineLeaf(Float32Array.from(data), { dtype: 'float32', shape }, batchAxis);
}

export function intLeaf(shape: Shape, data: ArrayLike<number>, batchAxis = -1): LeafNode {
  return inlineLeaf(Int32Array.from(data), { dtype: 'int32', shape }, batchAxis);
}

export function boolLeaf(shape: Shape, data: ArrayLike<number>, batchAxis = -1): LeafNode {
  return inlineLeaf(Uint8Array.from(data), { dtype: 'bool', shape }, batchAxis);
}

/** Fails unless |a - b| ≤ atol + rtol·|b| everywhere; names the worst element. */
export function expectClose(
  actual: ArrayLike<number>,
  expected: ArrayLike<number>,
  { rtol = 1e-6, atol = 1e-9, what = 'value' } = {},
): void {
  if (actual.length !== expected.length) {
    throw new Error(
      `${what}: ${String(actual.length)} elements, expected ${String(expected.length)}`,
    );
  }
  let worst = -1;
  let excess = 0;
  for (let i = 0; i < expected.length; i++) {
    const a = actual[i]!;
    const b = expected[i]!;
    const difference = Object.is(a, b) || a === b ? 0 : Math.abs(a - b);
    const over = difference - (atol + rtol * Math.abs(b));
    // `!(over <= …)` is also true for NaN.
    if (!(over <= excess)) {
      worst = i;
      excess = Number.isNaN(over) ? Infinity : over;
    }
  }
  if (worst >= 0) {
    throw new Error(
      `${what}: element ${String(worst)} is ${String(actual[worst])}, expected ${String(expected[worst])} (rtol ${String(rtol)}, atol ${String(atol)})`,
    );
  }
}
