/** @file Frames that lie beside the stream: their room, their places in messages, and what the two sides say about them. */
import fc from 'fast-check';
import type { AsideReader, AsideWriter } from '@ravenlab/protocol';
import { AsideRing, LIMITS, RemoteProtocolError } from '@ravenlab/protocol';
import type { ReaderOptions } from '../../../protocol/src/frameStream.js';
import {
  FrameReader,
  WORKER_BOUNDS,
  encodeFrames,
  encodeNote,
} from '../../../protocol/src/frameStream.js';

const SIZE = 4 * LIMITS.packBelowBytes;
const LONG = LIMITS.packBelowBytes;

/** Both ends of one memory. */
class Memory implements AsideWriter, AsideReader {
  readonly name = 7;
  readonly bytes = new Uint8Array(SIZE);
  private readonly ring = new AsideRing(SIZE);

  write(frame: Uint8Array): number | null {
    const position = this.ring.place(frame.byteLength);
    if (position !== null) this.bytes.set(frame, position % SIZE);
    return position;
  }

  taken(position: number): void {
    this.ring.free(position);
  }

  open(name: number): boolean {
    return name === this.name;
  }

  read(position: number, target: Uint8Array): void {
    const at = position % SIZE;
    if (at + target.byteLength > SIZE) throw new RemoteProtocolError('there is nothing');
    target.set(this.bytes.subarray(at, at + target.byteLength));
  }
}

const frameOf = (sizeBytes: number, seed: number): Uint8Array =>
  Uint8Array.from({ length: sizeBytes }, (_, i) => (i * 7 + seed) % 251);

test('a ring never gives out what is not read yet, in one piece each, and all of it again in the end', () => {
  fc.assert(
    fc.property(fc.array(fc.tuple(fc.integer({ min: 1, max: 700 }), fc.boolean())), (asks) => {
      const ring = new AsideRing(1000);
      const open: { start: number; end: number }[] = [];
      let read = 0;
      for (const [bytes, isRead] of asks) {
        const start = ring.place(bytes);
        if (start !== null) {
          expect(Math.floor(start / 1000)).toBe(Math.floor((start + bytes - 1) / 1000));
          open.push({ start, end: start + bytes });
        }
        for (const a of open) expect(a.end - (open[0]?.start ?? 0)).toBeLessThanOrEqual(1000);
        if (!isRead) continue;
        read = open.shift()?.end ?? read;
        ring.free(read % 2 ** 32);
      }
      ring.free((open.at(-1)?.end ?? read) % 2 ** 32);
      expect(ring.place(1000)).not.toBeNull();
    }),
    { numRuns: 300 },
  );
});

test('a side that claims to have read what was never there frees nothing', () => {
  const ring = new AsideRing(100);
  ring.place(60);
  ring.free(4_000_000_000);
  expect(ring.place(100)).toBeNull();
  ring.free(60);
  expect(ring.place(101)).toBeNull();
  expect(ring.place(100)).toBe(100);
  expect(ring.place(1)).toBeNull();
});

describe('messages with frames that lie aside', () => {
  function reading(memory: Memory, options: Partial<ReaderOptions> = {}) {
    const messages: string[][] = [];
    const taken: number[] = [];
    const aside = {
      read: (position: number, target: Uint8Array) => {
        memory.read(position, target);
      },
      taken: (position: number) => taken.push(position),
    };
    const reader = new FrameReader(
      (frames) => messages.push(frames.map((frame) => Buffer.from(frame).toString('hex'))),
      { bounds: WORKER_BOUNDS, memory: 'lent', aside, ...options },
    );
    return { messages, taken, reader };
  }
  const hexOf = (frames: readonly Uint8Array[]): string[] =>
    frames.map((frame) => Buffer.from(frame).toString('hex'));

  test.each(['lent', 'kept'] as const)('come back as they were, in %s memory', (kind) => {
    const memory = new Memory();
    const { messages, taken, reader } = reading(memory, { memory: kind });
    const sent: string[][] = [];
    for (let round = 0; round < 20; round++) {
      const frames = [3, LONG + round, 5, LONG, 0].map((size) => frameOf(size, round));
      const { pieces, isCopied } = encodeFrames(frames, WORKER_BOUNDS, memory);
      expect(isCopied).toBe(true);
      for (const frame of frames) frame.fill(0);
      sent.push(hexOf([3, LONG + round, 5, LONG, 0].map((size) => frameOf(size, round))));
      for (const piece of pieces) reader.push(piece);
      expect(taken).toHaveLength(round + 1);
      memory.taken(taken.at(-1) ?? 0);
    }
    expect(messages).toEqual(sent);
  });

  test('go the usual way where there is no room', () => {
    const memory = new Memory();
    const { messages, reader } = reading(memory);
    const frames = [frameOf(SIZE, 1), frameOf(LONG, 2)];
    const { pieces, isCopied } = encodeFrames(frames, WORKER_BOUNDS, memory);
    expect(isCopied).toBe(false);
    expect(pieces).toContain(frames[1]);
    for (const piece of pieces) reader.push(piece);
    expect(messages).toEqual([hexOf(frames)]);
  });

  test('are refused where nothing was lent, above the bounds, and at places that are none', () => {
    const memory = new Memory();
    const { pieces } = encodeFrames([frameOf(LONG, 1)], WORKER_BOUNDS, memory);
    const bytes = Buffer.concat(pieces);
    const none = new FrameReader(() => undefined, { bounds: WORKER_BOUNDS, memory: 'lent' });
    expect(() => none.push(bytes)).toThrow('are accepted');
    const small = { ...WORKER_BOUNDS, frameBytes: LONG - 1 };
    expect(() => reading(memory, { bounds: small }).reader.push(bytes)).toThrow('are accepted');
    const place = bytes.byteLength - 8;
    for (const position of [-1, 0.5, NaN, Infinity, SIZE - 1]) {
      bytes.writeDoubleLE(position, place);
      expect(() => reading(memory).reader.push(bytes)).toThrow(RemoteProtocolError);
    }
  });

  test('are spoken of between messages only', () => {
    const notes: [string, number][] = [];
    const memory = new Memory();
    const { messages, reader } = reading(memory, {
      onNote: (note, word) => notes.push([note, word]),
    });
    const hello = encodeFrames([frameOf(3, 1)], WORKER_BOUNDS).pieces;
    const stream = [encodeNote('offer', 7), ...hello, encodeNote('taken', 2 ** 32 - 1), ...hello];
    for (const byte of Buffer.concat(stream)) reader.push(Uint8Array.of(byte));
    expect(notes).toEqual([
      ['offer', 7],
      ['taken', 2 ** 32 - 1],
    ]);
    expect(messages).toHaveLength(2);
    expect(() => reading(memory).reader.push(encodeNote('offer', 7))).toThrow('another protocol');
  });
});
