/**
 * @file The arithmetic of simulated training. Float32, and its sums depend on the order of addition: a sum in arrival
 * order shows in the weights, as does a lost, doubled or misplaced unit, or one that was computed from other weights.
 */
import { leftSize } from '../../kernel/src/core/cluster/shardTree.js';

const LAST_BIT = 2 ** -20;

/** Weights before the first step. */
export const FIRST_WEIGHT = 1;

/** What a unit is computed from. */
export interface Inputs {
  /** Tells one request from another. */
  readonly salt: number;
  readonly weight: number;
  /** Value of the data set. */
  readonly data: number;
  /** Bit class of the worker: two of them round differently. */
  readonly bits: number;
}

/** Units differ in size: what is added in another order shows. */
const TENS = [1, 10, 100, 1_000, 10_000, 100_000, 1_000_000];

/** True result of one unit. */
export function unitValue({ salt, weight, data, bits }: Inputs, shard: number): number {
  const mixed = Math.imul(salt * 31 + shard + 1, 0x9e3779b1) >>> 0;
  const own = (mixed / 2 ** 32) * (TENS[mixed % TENS.length] ?? 1);
  return Math.fround((own + weight * (data + 1)) * (1 + bits * LAST_BIT));
}

/** Sum of all units, as one undisturbed machine makes it: said here once more, in other words than the engine's tree. */
export function undisturbedSum(inputs: Inputs, shards: number, first = 0): number {
  if (shards === 1) return unitValue(inputs, first);
  const left = leftSize(shards);
  const sum = undisturbedSum(inputs, left, first);
  return Math.fround(sum + undisturbedSum(inputs, shards - left, first + left));
}

export function add(target: { sum: number }, source: { readonly sum: number }): void {
  target.sum = Math.fround(target.sum + source.sum);
}

/** The optimizer. */
export function nextWeight(weight: number, sum: number): number {
  return Math.fround(weight * 0.5 + sum * LAST_BIT);
}
