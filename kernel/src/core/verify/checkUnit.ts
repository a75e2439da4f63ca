/**
 * @file Checks the answer to some micro-shards of a program against its inputs, without running it: `provable.ts` says which
 * outputs, `freivalds.ts` how. Plain data in and out, so that any thread may do it.
 */
import type { Program, TensorType } from '@ravenlab/protocol';
import { ENGINE_LIMITS, sizeOf, valueType } from '@ravenlab/protocol';
import { runReference } from '../reference/runReference.js';
import type { Opinion, Product } from './freivalds.js';
import { FLOAT32, checkProduct, drawWeights, sketchOf } from './freivalds.js';
import type { CheckedOp } from './products.js';
import { productsOf } from './products.js';
import type { Proof, ProvableOutput } from './provable.js';

type Values = ArrayLike<number>;

/** The values of one micro-shard's program inputs; null for those that the proof does not read. */
export type ShardInputs = readonly (Values | null)[];

export interface UnitCheck {
  readonly program: Program;
  readonly proof: Proof;
  readonly shards: readonly ShardInputs[];
  /** What was answered; null for an output that is not checked. */
  readonly answers: readonly (ClaimedOutput | null)[];
}

export interface ClaimedOutput {
  readonly data: Values;
  /** Of all shards; else it is the first one's own. */
  readonly isSum: boolean;
}

export interface CheckVerdict {
  readonly opinion: Opinion;
  /** Output, and row and column of its product that are wrong; -1 when none is. */
  readonly output: number;
  readonly row: number;
  readonly column: number;
}

/** Values of a program by number, as float32 arithmetic gives them. */
type Known = ReadonlyMap<number, Values>;

/** @param random uniform in [0, 1), unknown to who answered. */
export function checkUnit(check: UnitCheck, random: () => number): CheckVerdict {
  const { program, proof, shards, answers } = check;
  const known = shards.map((inputs) => operandsOf(program, proof, inputs));
  let isClear = true;
  for (const provable of proof.outputs) {
    const answer = answers[provable.output];
    if (answer === null || answer === undefined) continue;
    const read = answer.isSum ? known : known.slice(0, 1);
    for (const product of claimsOf(program, provable, read, answer.data)) {
      const sketch = sketchOf(product, drawWeights(product.columns, random));
      const maxRows = Math.ceil(product.rows / ENGINE_LIMITS.checkRowsShare);
      const { opinion, row, column } = checkProduct(product, sketch, FLOAT32, maxRows);
      if (opinion === 'wrong') return { opinion, output: provable.output, row, column };
      if (opinion === 'unclear') isClear = false;
    }
  }
  return { opinion: isClear ? 'right' : 'unclear', output: -1, row: -1, column: -1 };
}

/** Node by node, rounded to float32 after each: what every backend computes. */
function operandsOf(program: Program, { nodes }: Proof, inputs: ShardInputs): Known {
  const known = new Map<number, Values>();
  inputs.forEach((values, id) => {
    if (values !== null) known.set(id, values);
  });
  for (const index of nodes) {
    const node = program.nodes[index];
    if (node === undefined) continue;
    const types = node.inputs.map((id) => valueType(program, id));
    const alone = {
      inputs: types,
      nodes: [{ ...node, inputs: types.map((_type, at) => at) }],
      outputs: [types.length],
    };
    const [values = []] = runReference(
      alone,
      node.inputs.map((id) => known.get(id) ?? []),
    );
    const rounded = node.type.dtype === 'float32' ? Float32Array.from(values) : values;
    known.set(program.inputs.length + index, rounded);
  }
  return known;
}

/** The products that an output is said to be: over several shards, a longer one of each. */
function claimsOf(
  program: Program,
  { node: index, addends, roundings }: ProvableOutput,
  shards: readonly Known[],
  claimed: Values,
): Product[] {
  const node = program.nodes[index];
  if (node === undefined) return [];
  const productsWith = (known: Known, data: Values): Product[] =>
    productsOf(node.op as CheckedOp, {
      params: node.params as never,
      inputs: node.inputs.map((id) => ({
        type: valueType(program, id),
        data: known.get(id) ?? [],
      })),
      output: { type: node.type, data },
    });
  const ofShards = shards.map((known) => {
    const spread = addends.map(({ value, node: adds }) => {
      const { type } = program.nodes[adds] ?? node;
      return productsWith(
        known,
        broadcast(valueType(program, value), known.get(value) ?? [], type),
      );
    });
    return productsWith(known, claimed).map((product, at): Product => {
      const rows = spread.flatMap((each) => each[at]?.result ?? []);
      return { ...product, addends: rows, roundings };
    });
  });
  return (ofShards[0] ?? []).map((first, at) =>
    joined(
      first,
      ofShards.map((each) => each[at] ?? first),
    ),
  );
}

function broadcast(from: TensorType, values: Values, type: TensorType): Values {
  if (sizeOf(from.shape) === sizeOf(type.shape)) return values;
  const node = { op: 'broadcastTo', inputs: [0], params: { shape: type.shape }, type } as const;
  return runReference({ inputs: [from], nodes: [node], outputs: [1] }, [values])[0] ?? [];
}

/** Σ Aₛ·Bₛ as one product with the inner axes end to end. */
function joined(first: Product, parts: readonly Product[]): Product {
  if (parts.length === 1) return first;
  const { rows, inner, columns, result, roundings = 0 } = first;
  return {
    ...{ rows, columns, result, roundings },
    inner: inner * parts.length,
    left: (row, into) => {
      parts.forEach((part, at) => {
        part.left(row, into.subarray(at * inner, (at + 1) * inner));
      });
    },
    right: (row, into) => {
      parts[Math.floor(row / inner)]?.right(row % inner, into);
    },
    addends: parts.flatMap((part) => part.addends ?? []),
  };
}
