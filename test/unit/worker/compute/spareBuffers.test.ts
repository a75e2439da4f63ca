/** @file Memory of answers that have left. */
import { WORKER_LIMITS } from '@ravenlab/protocol';
import { SpareBuffers } from '../../../../worker/src/compute/spareBuffers.js';

test('what comes back is given out again, to who needs just that much, and only so many are kept', () => {
  const spares = new SpareBuffers();
  const [first, second] = [spares.take(64), spares.take(128)];
  spares.give([first, second]);
  expect(spares.take(96)).not.toBe(first);
  expect(spares.take(128)).toBe(second);
  expect(spares.take(128)).not.toBe(second);
  const many = Array.from({ length: 2 * WORKER_LIMITS.spareBuffers }, () => new ArrayBuffer(32));
  for (const buffer of many) spares.give([buffer]);
  // The youngest ones, and the one of another size is gone.
  const kept = many.slice(-WORKER_LIMITS.spareBuffers).reverse();
  expect(kept.map(() => spares.take(32))).toEqual(kept);
  expect(spares.take(64)).not.toBe(first);
});
