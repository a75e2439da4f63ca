/** @file What is under way of a connection: frames are counted however bytes are cut, and time forgives no more than comes in it. */
import fc from 'fast-check';
import { GREETING_BYTES } from '../../../../kernel/src/engine/gate/greeting.js';
import { Backlog, FrameCounter } from '../../../../kernel/src/engine/gate/underWay.js';

const LONG = 2;

/** A frame on the wire: flags, length, body. */
function frame(sizeBytes: number, flags: number): Buffer {
  const isLong = sizeBytes > 255 || (flags & LONG) !== 0;
  const head = Buffer.alloc(isLong ? 9 : 2);
  head[0] = isLong ? flags | LONG : flags;
  if (isLong) head.writeBigUInt64BE(BigInt(sizeBytes), 1);
  else head[1] = sizeBytes;
  // What a body holds is no header, even when it looks like one.
  return Buffer.concat([head, Buffer.alloc(sizeBytes, 1)]);
}

test('frames are counted once, wherever the bytes are cut', () => {
  fc.assert(
    fc.property(
      fc.array(fc.tuple(fc.oneof(fc.nat(3), fc.nat(700)), fc.nat(7)), { maxLength: 30 }),
      fc.array(fc.integer({ min: 1, max: 300 })),
      (frames, cuts) => {
        const wire = Buffer.concat([
          Buffer.alloc(GREETING_BYTES, 0xff),
          ...frames.map(([sizeBytes, flags]) => frame(sizeBytes, flags)),
        ]);
        const counter = new FrameCounter();
        let count = 0;
        let at = 0;
        for (const cut of cuts) {
          count += counter.count(wire.subarray(at, at + cut));
          at += cut;
        }
        expect(count + counter.count(wire.subarray(at))).toBe(frames.length);
      },
    ),
  );
});

test('a frame that says it is longer than anything hides what follows, as it does from ZeroMQ', () => {
  const counter = new FrameCounter();
  counter.count(Buffer.alloc(GREETING_BYTES));
  const endless = Buffer.from('02ffffffffffffffff', 'hex');
  expect(counter.count(Buffer.concat([endless, Buffer.alloc(1_000)]))).toBe(1);
  expect(counter.count(Buffer.alloc(1_000))).toBe(0);
});

test('what is delivered counts no more, and never makes room in advance', () => {
  const backlog = new Backlog(0, 0, 0);
  backlog.add(100, 0);
  backlog.take(70, 0);
  expect(backlog.now(0)).toBe(30);
  backlog.take(1_000, 0);
  backlog.add(10, 0);
  expect(backlog.now(0)).toBe(10);
});

test('heartbeats seep away, and a connection that is a day old is allowed no more than a young one', () => {
  const dayMs = 86_400_000;
  const backlog = new Backlog(4, 8, 0);
  backlog.add(8, 0);
  expect(backlog.now(0)).toBe(0);
  for (let ms = 0; ms <= dayMs; ms += 1_000) backlog.add(2, ms);
  expect(backlog.now(dayMs)).toBeLessThanOrEqual(2);
  backlog.add(10_000, dayMs);
  expect(backlog.now(dayMs)).toBeGreaterThanOrEqual(10_000);
  expect(backlog.now(dayMs + 2_000)).toBeGreaterThan(9_900);
});
