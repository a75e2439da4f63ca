/** @file Blocks of the shared memory: never overlapping, merged when freed, a clear error when full. */
import { SharedHeap } from '../../../kernel/src/engine/heap.js';
import type { Block } from '../../../kernel/src/engine/heap.js';

test('blocks are aligned, disjoint, and keep their bytes while others come and go', () => {
  const heap = new SharedHeap(256);
  const live: { block: Block; mark: number }[] = [];
  let state = 7;
  const next = (below: number) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state % below;
  };
  for (let round = 0; round < 2000; round++) {
    if (live.length > 20 || (live.length > 0 && next(3) === 0)) {
      const [gone] = live.splice(next(live.length), 1);
      expect(heap.bytes(gone!.block).every((byte) => byte === gone!.mark)).toBe(true);
      heap.free(gone!.block);
    } else {
      const block = heap.allocate(1 + next(5000));
      expect(block.ptr % 16).toBe(0);
      const mark = 1 + next(250);
      heap.bytes(block).fill(mark);
      live.push({ block, mark });
    }
  }
  for (const { block, mark } of live) {
    expect(heap.bytes(block).every((byte) => byte === mark)).toBe(true);
    heap.free(block);
  }
  expect(heap.usedBytes).toBe(0);
});

test('freed neighbours merge: the same room serves one large block again', () => {
  const heap = new SharedHeap(64);
  const blocks = Array.from({ length: 30 }, () => heap.allocate(100_000));
  const { ptr } = blocks[0]!;
  for (const index of [1, 0, 2, ...Array.from({ length: 27 }, (_, i) => i + 3).reverse()]) {
    heap.free(blocks[index]!);
  }
  expect(heap.allocate(30 * 100_000).ptr).toBe(ptr);
});

test('padding is zero in a reused block, so vector loops may run over it', () => {
  const heap = new SharedHeap(16);
  const first = heap.allocate(32);
  heap.bytes(first).fill(255);
  heap.free(first);
  const second = heap.allocate(20);
  expect([...heap.bytes({ ptr: second.ptr + 20, sizeBytes: 12 })]).toEqual(new Array(12).fill(0));
});

test('a full memory says how much was wanted and what to do', () => {
  const heap = new SharedHeap(16);
  expect(() => heap.allocate(2 ** 21)).toThrow(/2097152 bytes wanted.*smaller model/);
});

test('views taken before the memory grows stay valid', () => {
  const heap = new SharedHeap(1024);
  const early = heap.allocate(64);
  const view = heap.bytes(early);
  view.fill(9);
  heap.allocate(32 * 65_536);
  view[0] = 1;
  expect(heap.bytes(early)[0]).toBe(1);
});
