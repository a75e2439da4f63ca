/** @file The sum of a step: same bits whatever the order of arrival, bounded memory when in order. */
import { InvariantError } from '../../../../kernel/src/core/cluster/transition.js';
import { ShardTree, leftSize } from '../../../../kernel/src/core/cluster/shardTree.js';

/** Sums float32 leaves through the tree in the given order of arrival. */
function sumInOrder(leaves: Float32Array, order: readonly number[]): number {
  const tree = new ShardTree<{ value: number }>(leaves.length);
  for (const index of order) {
    for (const { target, source } of tree.insert(index, { value: leaves[index] ?? 0 })) {
      target.value = Math.fround(target.value + source.value);
    }
  }
  return tree.root.value;
}

/** The definition, written recursively. */
function sumByDefinition(leaves: Float32Array, start: number, size: number): number {
  if (size === 1) return leaves[start] ?? 0;
  const left = leftSize(size);
  return Math.fround(
    sumByDefinition(leaves, start, left) + sumByDefinition(leaves, start + left, size - left),
  );
}

function shuffled(count: number, seed: number): number[] {
  const order = Array.from({ length: count }, (_, index) => index);
  let state = seed;
  for (let i = count - 1; i > 0; i--) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    const j = state % (i + 1);
    [order[i], order[j]] = [order[j] ?? 0, order[i] ?? 0];
  }
  return order;
}

const leavesOf = (count: number): Float32Array =>
  Float32Array.from({ length: count }, (_, i) => Math.sin(i * 7 + 1) * 10 ** (i % 7));

test('a node of n leaves splits at the largest power of two below n', () => {
  expect([2, 3, 4, 5, 8, 9].map(leftSize)).toEqual([1, 2, 2, 4, 4, 8]);
});

test('the sum has the bits of the definition for every order of arrival', () => {
  for (const count of [1, 2, 3, 5, 7, 8, 13, 33]) {
    const leaves = leavesOf(count);
    const expected = sumByDefinition(leaves, 0, count);
    for (let seed = 1; seed <= 20; seed++) {
      expect(sumInOrder(leaves, shuffled(count, seed))).toBe(expected);
    }
  }
});

test('the order of a plain loop would give other bits, so the definition matters', () => {
  const leaves = leavesOf(33);
  const plain = leaves.reduce((sum, leaf) => Math.fround(sum + leaf), 0);
  expect(plain).not.toBe(sumByDefinition(leaves, 0, 33));
});

test('leaves in order hold at most log2 n + 1 partial sums', () => {
  const tree = new ShardTree<number>(1000);
  for (let index = 0; index < 1000; index++) {
    tree.insert(index, index);
    expect(tree.held).toBeLessThanOrEqual(11);
  }
  expect(tree.isComplete).toBe(true);
  expect(tree.held).toBe(1);
});

test('a node that was summed elsewhere gives the bits of its leaves', () => {
  const leaves = leavesOf(13);
  const expected = sumByDefinition(leaves, 0, 13);
  const tree = new ShardTree<{ value: number }>(13);
  for (const [start, count] of [
    [8, 4],
    [4, 2],
    [12, 1],
    [0, 4],
    [6, 2],
  ] as const) {
    const value = { value: sumByDefinition(leaves, start, count) };
    for (const { target, source } of tree.insert(start, value, count)) {
      target.value = Math.fround(target.value + source.value);
    }
  }
  expect(tree.root.value).toBe(expected);
});

test('shards that are no node of the tree are refused', () => {
  const tree = new ShardTree<number>(6);
  expect(() => tree.insert(1, 0, 2)).toThrow('are no node');
  expect(() => tree.insert(4, 0, 4)).toThrow(InvariantError);
  tree.insert(0, 0, 2);
  expect(() => tree.insert(1, 0)).toThrow('came twice');
});

test('every aligned power of two is a node, whatever the number of shards', () => {
  for (let count = 1; count <= 40; count++) {
    for (let size = 1; size <= count; size *= 2) {
      for (let start = 0; start + size <= count; start += size) {
        expect(() => new ShardTree<number>(count).insert(start, 0, size)).not.toThrow();
      }
    }
  }
});

test('a leaf that comes twice, or is none, breaks an invariant', () => {
  const tree = new ShardTree<number>(2);
  tree.insert(0, 0);
  expect(() => tree.insert(0, 0)).toThrow(InvariantError);
  expect(() => tree.insert(2, 0)).toThrow(InvariantError);
  expect(() => tree.root).toThrow('not complete');
});

test('take empties the tree so that its owner can free the partial sums', () => {
  const tree = new ShardTree<string>(4);
  tree.insert(0, 'a');
  tree.insert(3, 'd');
  expect(tree.take()).toEqual(['a', 'd']);
  expect(tree.held).toBe(0);
});
