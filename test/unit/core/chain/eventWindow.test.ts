/** @file The window of newest blocks: whatever a chain takes back, what is kept in the end is what the chain holds. */
import fc from 'fast-check';
import { CHAIN_LIMITS } from '@ravenlab/protocol';
import type { ChainEvent } from '../../../../kernel/src/core/chain/eventWindow.js';
import {
  compareWindow,
  confirmedBlock,
  eventKey,
  inOrder,
  windowOf,
} from '../../../../kernel/src/core/chain/eventWindow.js';

test('an event of another block is another event', () => {
  const event = { block: 3, blockHash: 'a', logIndex: 0 };
  const again = { block: 3, blockHash: 'b', logIndex: 0 };
  expect(compareWindow([event], [again])).toEqual({ added: [again], gone: [event] });
  expect(compareWindow([event], [event])).toEqual({ added: [], gone: [] });
});

test('one confirmation is the newest block itself', () => {
  expect(confirmedBlock(10, 1)).toBe(10);
  expect(confirmedBlock(10, 12)).toBe(-1);
});

test('what was never read is read from the first block on, in bounded pieces', () => {
  const { logBlocks } = CHAIN_LIMITS;
  expect(windowOf({ scanned: null, first: 5, head: 9 })).toEqual({ from: 5, to: 9 });
  expect(windowOf({ scanned: null, first: 5, head: 4 })).toBeNull();
  expect(windowOf({ scanned: null, first: 0, head: 10 * logBlocks })?.to).toBe(logBlocks - 1);
});

test('property: after any reorganisations within the window, what is kept is what the chain holds', () => {
  const step = fc.record({
    back: fc.integer({ min: 0, max: CHAIN_LIMITS.reorgBlocks - 1 }),
    forth: fc.integer({ min: 1, max: 90 }),
    dense: fc.boolean(),
  });
  fc.assert(
    fc.property(fc.array(step, { minLength: 1, maxLength: 12 }), (steps) => {
      const chain: ChainEvent[][] = [[]];
      let kept: ChainEvent[] = [];
      let scanned: number | null = null;
      let fork = 0;
      for (const { back, forth, dense } of steps) {
        fork++;
        // What was read is at most `back` blocks wrong.
        chain.length = Math.max(1, chain.length - back);
        for (let i = 0; i < forth; i++) {
          const block = chain.length;
          const blockHash = `${String(fork)}:${String(block)}`;
          const count = dense ? block % 3 : block % 17 === 0 ? 1 : 0;
          const events = Array.from({ length: count }, (_, logIndex) => ({
            ...{ block, blockHash, logIndex },
          }));
          chain.push(events);
        }
        const head = chain.length - 1;
        const range = windowOf({ scanned, first: 0, head });
        if (range === null) continue;
        const within = ({ block }: ChainEvent) => block >= range.from && block <= range.to;
        const { added, gone } = compareWindow(kept.filter(within), chain.flat().filter(within));
        const lost = new Set(gone.map(eventKey));
        kept = [...kept.filter((event) => !lost.has(eventKey(event))), ...added].sort(inOrder);
        scanned = range.to;
        // A chain that has become shorter is judged as far as it goes.
        expect(kept.filter(({ block }) => block <= head)).toEqual(chain.flat());
      }
    }),
  );
});
