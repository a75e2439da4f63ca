/** @file The order of a sum does not depend on the order of arrival, nor does the memory grow with it. */
import fc from 'fast-check';
import { ShardTree, leftSize } from '../../../../kernel/src/core/cluster/shardTree.js';

/** The definition, recursively. */
function describeTree(first: number, size: number): string {
  if (size === 1) return String(first);
  const left = leftSize(size);
  return `(${describeTree(first, left)}+${describeTree(first + left, size - left)})`;
}

function insertAll(order: readonly number[]): { text: string; heldMax: number } {
  const tree = new ShardTree<{ text: string }>(order.length);
  let heldMax = 0;
  for (const shard of order) {
    for (const { target, source } of tree.insert(shard, { text: String(shard) })) {
      target.text = `(${target.text}+${source.text})`;
    }
    heldMax = Math.max(heldMax, tree.held);
  }
  return { text: tree.root.text, heldMax };
}

test('splits at the largest power of two below the size', () => {
  expect([2, 3, 4, 5, 8, 9].map(leftSize)).toEqual([1, 2, 2, 4, 4, 8]);
  expect(insertAll([0, 1, 2, 3, 4]).text).toBe('(((0+1)+(2+3))+4)');
});

test('makes the same sum in every order of arrival', () => {
  const orders = fc
    .integer({ min: 1, max: 40 })
    .chain((count) =>
      fc.shuffledSubarray([...Array(count).keys()], { minLength: count, maxLength: count }),
    );
  fc.assert(
    fc.property(orders, (order) => {
      expect(insertAll(order).text).toBe(describeTree(0, order.length));
    }),
  );
});

test('holds a logarithm of partial sums when shards come in order', () => {
  const order = [...Array(1_000).keys()];
  expect(insertAll(order).heldMax).toBeLessThanOrEqual(11);
});

test('refuses a shard that came already, and a sum that is not complete', () => {
  const tree = new ShardTree<number>(3);
  tree.insert(1, 1);
  expect(() => tree.insert(1, 1)).toThrow('came twice');
  expect(() => tree.root).toThrow('not complete');
});
