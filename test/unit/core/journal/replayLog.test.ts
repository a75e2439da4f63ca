/** @file What a kernel asks again after a crash, and what is not paid again; no process dies here. */
import { PaidBook } from '../../../../kernel/src/core/journal/paidBook.js';
import { ReplayLog } from '../../../../kernel/src/core/journal/replayLog.js';

function start(bounds = { requests: 4, sizeBytes: 1_000 }) {
  const log = new ReplayLog<string>(bounds);
  let nextId = 1;
  const send = (isEffect: boolean, options: { epoch?: number; sizeBytes?: number } = {}) => {
    const { epoch = 0, sizeBytes = 10 } = options;
    log.sent({ id: nextId, epoch, isEffect, sizeBytes, body: `request ${String(nextId)}` });
    return nextId++;
  };
  return { log, send };
}
const ids = (list: readonly { readonly id: number }[] | null) => list?.map(({ id }) => id);
const nobody = () => false;

test('what a new engine is asked: effects above the watermark, and whatever has no answer, in order', () => {
  const { log, send } = start();
  for (const isEffect of [true, true, false, true, false]) send(isEffect);
  log.answered(1, true);
  log.answered(2, true);
  log.answered(3, true);
  log.settle(1);
  const again = log.replay(1, nobody);
  expect(ids(again)).toEqual([2, 4, 5]);
  expect(again?.map(({ isAnswered }) => isAnswered)).toEqual([true, false, false]);
  expect(log.acked).toBe(1);
  expect(log.answered(2, true)).toBe('repeated');
  expect(log.answered(4, true)).toBe('first');
  expect(log.answered(5, true)).toBe('first');
  expect(log.acked).toBe(5);
  // Still the only copy of what 2 and 4 did.
  expect(ids(log.replay(1, nobody))).toEqual([2, 4]);
});

test('a refused request had no effect and is not asked again', () => {
  const { log, send } = start();
  send(true);
  send(true);
  log.answered(1, false);
  log.answered(2, true);
  expect(ids(log.replay(0, nobody))).toEqual([2]);
});

test('a request that succeeded once and fails in a replay is told: the engine is not what it was', () => {
  const { log, send } = start();
  send(true);
  log.answered(1, true);
  log.replay(0, nobody);
  expect(log.answered(1, false)).toBe('diverged');
});

test('what a stopped cell asked is not asked again unless its answer was seen', () => {
  const { log, send } = start();
  send(true, { epoch: 7 });
  send(true, { epoch: 7 });
  send(true, { epoch: 8 });
  log.answered(1, true);
  expect(ids(log.replay(0, (epoch) => epoch === 7))).toEqual([1, 3]);
});

test('it acknowledges only what has been answered without a gap', () => {
  const { log, send } = start();
  send(false);
  send(true);
  log.answered(2, true);
  expect(log.acked).toBe(0);
  log.answered(1, true);
  expect(log.acked).toBe(2);
});

test('an engine that has less than it promised cannot be made whole', () => {
  const { log, send } = start();
  send(true);
  log.answered(1, true);
  log.settle(1);
  expect(log.replay(0, nobody)).toBeNull();
});

test('it is bounded by requests and by bytes, and lets a single large one through', () => {
  const { log, send } = start();
  expect(log.hasRoomFor(true, 5_000)).toBe(true);
  const large = send(true, { sizeBytes: 5_000 });
  expect(log.hasRoomFor(true, 1)).toBe(false);
  expect(log.hasRoomFor(false, 1)).toBe(true);
  log.answered(large, true);
  log.settle(large);
  expect([log.size, log.sizeBytes]).toEqual([0, 0]);
  for (let i = 0; i < 4; i++) send(true);
  expect(log.hasRoomFor(true, 1)).toBe(false);
});

test('paid shards are known by session and request until they cannot be executed again', () => {
  const book = new PaidBook([
    { session: 1, request: 5, shard: 0 },
    { session: 1, request: 5, shard: 3 },
    { session: 1, request: 6, shard: 1 },
    { session: 2, request: 5, shard: 2 },
  ]);
  expect([...book.paidOf({ session: 1, request: 5 })]).toEqual([0, 3]);
  expect(book.paidOf({ session: 1, request: 7 }).size).toBe(0);
  book.settle({ session: 1, request: 5 });
  expect(book.paidOf({ session: 1, request: 5 }).size).toBe(0);
  expect([...book.paidOf({ session: 1, request: 6 })]).toEqual([1]);
  book.settle({ session: 2, request: 1 });
  expect([book.size, ...book.paidOf({ session: 2, request: 5 })]).toEqual([1, 2]);
});
