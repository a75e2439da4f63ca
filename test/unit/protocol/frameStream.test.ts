/** @file Messages on a byte stream, however the stream is cut; what breaks the framing or its bounds is refused before it is stored. */
import fc from 'fast-check';
import { LIMITS, RemoteProtocolError } from '@ravenlab/protocol';
import { FrameReader, KERNEL_BOUNDS, encodeFrames } from '../../../protocol/src/frameStream.js';
import type { ReaderOptions } from '../../../protocol/src/frameStream.js';

const LONG = LIMITS.packBelowBytes;
const BOUNDS = { frames: 4, frameBytes: 100, messageBytes: 150 };
const KEPT: ReaderOptions = { bounds: KERNEL_BOUNDS, memory: 'kept' };
const LENT: ReaderOptions = { bounds: KERNEL_BOUNDS, memory: 'lent' };

function bytesOf(...messages: readonly (readonly Uint8Array[])[]): Buffer {
  return Buffer.concat(messages.flatMap((frames) => encodeFrames(frames, KERNEL_BOUNDS).pieces));
}

/** What a reader makes of the stream when it comes in pieces of these sizes, over and over. */
function read(stream: Uint8Array, sizes: readonly number[], options = KEPT): Uint8Array[][] {
  const messages: Uint8Array[][] = [];
  const reader = new FrameReader((frames) => {
    const isLent = options.memory === 'lent';
    messages.push(isLent ? frames.map((lent) => Uint8Array.from(lent)) : frames);
  }, options);
  for (let at = 0, i = 0; at < stream.byteLength; i++) {
    const size = sizes[i % sizes.length] ?? 1;
    // A socket may use its buffer again.
    const piece = Uint8Array.from(stream.subarray(at, at + size));
    reader.push(piece);
    piece.fill(0xee);
    at += size;
  }
  expect(reader.isIdle).toBe(true);
  return messages;
}

function head(words: readonly number[]): Buffer {
  const bytes = Buffer.alloc(words.length * 4);
  words.forEach((word, i) => bytes.writeUInt32LE(word, i * 4));
  return bytes;
}

const plain = (messages: readonly (readonly Uint8Array[])[]) =>
  messages.map((frames) => frames.map((frame) => Buffer.from(frame).toString('hex')));

const frame = fc.oneof(
  { weight: 5, arbitrary: fc.uint8Array({ maxLength: 40 }) },
  {
    weight: 1,
    arbitrary: fc
      .integer({ min: LONG - 2, max: LONG + 9 })
      .map((size) => Uint8Array.from({ length: size }, (_, i) => i % 251)),
  },
);
const message = fc.array(frame, { minLength: 1, maxLength: 6 });

test('messages come back as they were, however the stream is cut', () => {
  fc.assert(
    fc.property(
      fc.array(message, { maxLength: 5 }),
      fc.array(fc.integer({ min: 1, max: 9_000 }), { minLength: 1, maxLength: 4 }),
      (messages, sizes) => {
        expect(plain(read(bytesOf(...messages), sizes))).toEqual(plain(messages));
        expect(plain(read(bytesOf(...messages), sizes, LENT))).toEqual(plain(messages));
      },
    ),
    { numRuns: 60 },
  );
});

test('every frame can be viewed as an array of any type, and holds no memory of another message', () => {
  const [first, second] = read(
    bytesOf([new Uint8Array(3), new Uint8Array(5), new Uint8Array(8 * LONG)], [new Uint8Array(7)]),
    [1 << 20],
  );
  for (const { byteOffset } of first ?? []) expect(byteOffset % 8).toBe(0);
  const memory = new Set([...(first ?? []), ...(second ?? [])].map(({ buffer }) => buffer));
  expect(first?.[0]?.buffer).toBe(first?.[1]?.buffer);
  expect(memory.size).toBe(3);
  expect(second?.[0]?.buffer.byteLength).toBe(8);
});

test('long frames are pieces of their own, also from shared memory; nothing is copied', () => {
  const shared = new Uint8Array(new SharedArrayBuffer(LONG + 1));
  const frames = [new Uint8Array(3), shared, new Uint8Array(2), new Uint8Array(LONG)];
  const { pieces } = encodeFrames(frames, KERNEL_BOUNDS);
  expect(pieces).toContain(shared);
  expect(pieces.map((piece) => piece.byteLength)).toEqual([24 + 8, LONG + 1, 7, 8, LONG]);
});

test('ten thousand small messages in one piece are ten thousand messages', () => {
  const messages = Array.from({ length: 10_000 }, (_, i) => [Uint8Array.of(i & 255, i >> 8)]);
  expect(plain(read(bytesOf(...messages), [bytesOf(...messages).byteLength]))).toEqual(
    plain(messages),
  );
});

test('a huge frame in small pieces is written into one piece of memory, which its first byte allocates', () => {
  const huge = Buffer.alloc(48 << 20, 'abcdefg');
  const stream = bytesOf([huge]);
  const messages: Uint8Array[][] = [];
  const allocated: number[] = [];
  const reader = new FrameReader((frames) => messages.push(frames), {
    ...LENT,
    allocate: (sizeBytes) => {
      allocated.push(sizeBytes);
      return new Uint8Array(sizeBytes);
    },
  });
  const table = stream.byteLength - huge.byteLength;
  reader.push(stream.subarray(0, table));
  expect(allocated).toEqual([table - 8]);
  for (let at = table; at < stream.byteLength; at += 1 << 16) {
    reader.push(stream.subarray(at, at + (1 << 16)));
  }
  expect(allocated).toEqual([table - 8, huge.byteLength]);
  expect(Buffer.compare(messages[0]?.[0] ?? Buffer.alloc(0), huge)).toBe(0);
});

test('lent memory is used again by the next message, and grows to what one needs', () => {
  const memory: ArrayBufferLike[] = [];
  const reader = new FrameReader((frames) => {
    memory.push(...frames.map(({ buffer }) => buffer));
  }, LENT);
  const small = [new Uint8Array(100), new Uint8Array(8 * LONG)];
  reader.push(bytesOf(small, small, [new Uint8Array(40 * LONG)], small));
  expect(new Set(memory.slice(0, 4)).size).toBe(1);
  expect(new Set(memory.slice(4)).size).toBe(1);
  expect(memory[4]).not.toBe(memory[0]);
});

test('a stream that ends within a message leaves the reader waiting', () => {
  const stream = bytesOf([new Uint8Array(40), new Uint8Array(LONG)]);
  const readers = Array.from(stream.subarray(1), () => null).flatMap((_, i) => {
    if (i > 80 && i < stream.byteLength - 80) return [];
    const reader = new FrameReader(() => {
      throw new Error('a message came of a part of it');
    }, KEPT);
    reader.push(stream.subarray(0, i + 1));
    return [reader.isIdle];
  });
  expect(readers.length).toBeGreaterThan(150);
  expect(readers).not.toContain(true);
});

test.each([
  ['another protocol', head([0x4554_4740, 1])],
  ['no frame', head([0x314b_5652, 0])],
  ['more frames than are accepted', head([0x314b_5652, 5])],
  ['a frame longer than is accepted', head([0x314b_5652, 1, 101, 0])],
  ['more bytes than are accepted', head([0x314b_5652, 2, 100, 51])],
])('%s is refused before anything is stored for it', (_name, stream) => {
  const reader = new FrameReader(() => undefined, { bounds: BOUNDS, memory: 'lent' });
  expect(() => {
    reader.push(stream);
  }).toThrow(RemoteProtocolError);
});

test.each([
  ['no frame', []],
  ['more frames', Array.from({ length: 5 }, () => new Uint8Array(1))],
  ['a longer frame', [new Uint8Array(101)]],
  ['more bytes', [new Uint8Array(100), new Uint8Array(51)]],
])('%s than the receiver accepts is refused at the sender', (_name, frames) => {
  expect(() => encodeFrames(frames, BOUNDS)).toThrow(RemoteProtocolError);
});

test('bytes that are no stream of messages never do more than refuse it', () => {
  fc.assert(
    fc.property(message, fc.nat(), fc.nat({ max: 255 }), (frames, at, value) => {
      const stream = bytesOf(frames, frames);
      stream[at % Math.min(stream.byteLength, 60)] = value;
      const reader = new FrameReader(() => undefined, KEPT);
      try {
        reader.push(stream);
      } catch (error) {
        expect(error).toBeInstanceOf(RemoteProtocolError);
      }
    }),
  );
});
