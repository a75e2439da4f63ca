/** @file Messages on the wire: round trip for every kind; truncated, mutated and oversized frames are refused by value. */
import fc from 'fast-check';
import type { EngineToWorker, WireMessage, WorkerToEngine } from '@ravenlab/protocol';
import {
  decodeEngineMessage,
  decodeWorkerMessage,
  encodeEngineMessage,
  encodeWorkerMessage,
  LIMITS,
  messageBytes,
  RemoteProtocolError,
} from '@ravenlab/protocol';
import { ENGINE_MESSAGES, WORKER_MESSAGES } from './protocolArbitraries.js';

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex');

/** The message with every list of chunks replaced by the bytes it stands for: how they are cut is not content. */
function content(value: unknown): unknown {
  if (value instanceof Int32Array) return { words: Array.from(value) };
  if (Array.isArray(value)) {
    return value.every((item) => item instanceof Uint8Array)
      ? { bytes: Buffer.concat(value).toString('hex') }
      : value.map(content);
  }
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([key, field]) => [key, content(field)]));
}

interface Direction {
  readonly name: string;
  readonly kinds: Readonly<Record<string, fc.Arbitrary<WireMessage>>>;
  readonly encode: (message: WireMessage) => Uint8Array[];
  readonly decode: typeof decodeEngineMessage | typeof decodeWorkerMessage;
  readonly decodeOther: typeof decodeEngineMessage | typeof decodeWorkerMessage;
}

const DIRECTIONS: readonly Direction[] = [
  {
    name: 'engine',
    kinds: ENGINE_MESSAGES,
    encode: (message) => encodeEngineMessage(message as EngineToWorker),
    decode: decodeEngineMessage,
    decodeOther: decodeWorkerMessage,
  },
  {
    name: 'worker',
    kinds: WORKER_MESSAGES,
    encode: (message) => encodeWorkerMessage(message as WorkerToEngine),
    decode: decodeWorkerMessage,
    decodeOther: decodeEngineMessage,
  },
];

const EVERY_KIND = DIRECTIONS.flatMap((direction) =>
  Object.entries(direction.kinds).map(([kind, arbitrary]) => ({
    direction,
    kind,
    arbitrary,
    title: `${kind} of the ${direction.name}`,
  })),
);

const encoded = fc.oneof(
  ...EVERY_KIND.map(({ direction, arbitrary }) =>
    arbitrary.map((message) => ({ direction, frames: direction.encode(message) })),
  ),
);

/** Decodes; anything but a value, or a refusal of the right class, fails. */
function outcome(decode: Direction['decode'], frames: readonly Uint8Array[]): boolean {
  const decoded = decode(frames);
  if (!decoded.ok) {
    expect(decoded.error).toBeInstanceOf(RemoteProtocolError);
    expect(decoded.error.message.length).toBeLessThan(4 * LIMITS.errorChars);
  }
  return decoded.ok;
}

describe.each(EVERY_KIND)('$title', ({ direction, kind, arbitrary }) => {
  test('survives the wire', () => {
    fc.assert(
      fc.property(arbitrary, (message) => {
        const frames = direction.encode(message);
        for (const frame of frames) expect(frame.byteLength).toBeLessThanOrEqual(LIMITS.frameBytes);
        const decoded = direction.decode(frames);
        if (!decoded.ok) throw decoded.error;
        expect(content(decoded.value)).toEqual(content(message));
        // Encoding what was decoded gives the same frames: one message has one framing.
        expect(direction.encode(decoded.value).map(hex)).toEqual(frames.map(hex));
      }),
      { numRuns: 200 },
    );
  });

  test('is refused when a frame is missing, doubled, cut or grown', () => {
    fc.assert(
      fc.property(arbitrary, fc.nat(), fc.nat(), (message, pick, cut) => {
        const frames = direction.encode(message);
        const at = pick % frames.length;
        const frame = frames[at]!;
        const edited = (...replacement: Uint8Array[]) => [
          ...frames.slice(0, at),
          ...replacement,
          ...frames.slice(at + 1),
        ];
        const longer = new Uint8Array(frame.length + 4);
        longer.set(frame);
        expect(outcome(direction.decode, edited())).toBe(false);
        expect(outcome(direction.decode, edited(frame, frame))).toBe(false);
        expect(outcome(direction.decode, edited(frame.subarray(0, cut % frame.length)))).toBe(
          false,
        );
        expect(outcome(direction.decode, edited(longer))).toBe(false);
        expect(outcome(direction.decode, [...frames, new Uint8Array(0)])).toBe(false);
      }),
      { numRuns: 200 },
    );
  });

  test('is refused by the side that sent it, unless both may say it', () => {
    fc.assert(
      fc.property(arbitrary, (message) => {
        const accepted = outcome(direction.decodeOther, direction.encode(message));
        expect(accepted).toBe(kind === 'error' || kind === 'bye');
      }),
      { numRuns: 20 },
    );
  });
});

describe('hostile frames', () => {
  const byte = fc.integer({ min: 0, max: 255 });
  const extreme = fc.constantFrom(-1, 0, 1, 7, 2 ** 31 - 1, -(2 ** 31), 65_536, 4_097, 2 ** 20);

  test('changed bytes anywhere are decoded or refused', () => {
    fc.assert(
      fc.property(
        encoded,
        fc.array(fc.tuple(fc.nat(), fc.nat(), byte), { minLength: 1, maxLength: 8 }),
        ({ direction, frames }, edits) => {
          const copies = frames.map((frame) => frame.slice());
          for (const [frame, at, value] of edits) {
            const target = copies[frame % copies.length]!;
            if (target.length > 0) target[at % target.length] = value;
          }
          outcome(direction.decode, copies);
        },
      ),
      { numRuns: 5_000 },
    );
  });

  test('header words set to extreme values are decoded or refused', () => {
    fc.assert(
      fc.property(
        encoded,
        fc.array(fc.tuple(fc.nat(), extreme), { minLength: 1, maxLength: 4 }),
        ({ direction, frames }, edits) => {
          const words = new Int32Array(frames[0]!.slice().buffer);
          // Behind magic, version and kind, where the decoder would stop at once.
          for (const [at, value] of edits) words[3 + (at % (words.length - 3))] = value;
          outcome(direction.decode, [new Uint8Array(words.buffer), ...frames.slice(1)]);
        },
      ),
      { numRuns: 5_000 },
    );
  });

  test('random frames are refused', () => {
    fc.assert(
      fc.property(fc.array(fc.uint8Array({ maxLength: 64 }), { maxLength: 4 }), (frames) => {
        expect(outcome(decodeEngineMessage, frames)).toBe(false);
        expect(outcome(decodeWorkerMessage, frames)).toBe(false);
      }),
      { numRuns: 1_000 },
    );
  });

  test('random fields under a valid prefix are decoded or refused', () => {
    const prefixed = fc.tuple(
      fc.integer({ min: 0, max: 40 }),
      fc.array(fc.integer(), { maxLength: 40 }),
      fc.array(fc.uint8Array({ maxLength: 64 }), { maxLength: 3 }),
    );
    fc.assert(
      fc.property(prefixed, ([kind, fields, body]) => {
        const words = Int32Array.of(
          0x4c4e5652,
          1,
          kind,
          6 + fields.length,
          body.length,
          0,
          ...fields,
        );
        const frames = [new Uint8Array(words.buffer), ...body];
        outcome(decodeEngineMessage, frames);
        outcome(decodeWorkerMessage, frames);
      }),
      { numRuns: 5_000 },
    );
  });

  test('received frames may lie anywhere in memory', () => {
    fc.assert(
      fc.property(encoded, fc.nat(7), ({ direction, frames }, offset) => {
        const moved = frames.map((frame) => {
          const host = Buffer.alloc(frame.length + offset);
          host.set(frame, offset);
          return host.subarray(offset);
        });
        const decoded = direction.decode(moved);
        const expected = direction.decode(frames);
        if (!decoded.ok || !expected.ok) throw new Error('both must decode');
        expect(content(decoded.value)).toEqual(content(expected.value));
      }),
      { numRuns: 500 },
    );
  });
});

describe('memory', () => {
  /** Runs `work` and returns the largest number of bytes or items that one allocation asked for by number. */
  function largestRequest(work: () => void): number {
    let largest = 0;
    const seen = (length: unknown): void => {
      if (typeof length === 'number') largest = Math.max(largest, length);
    };
    const watch = <T extends object>(constructor: T, itemBytes: number): T =>
      new Proxy(constructor, {
        construct(target, args: unknown[], newTarget) {
          if (typeof args[0] === 'number') seen(args[0] * itemBytes);
          return Reflect.construct(target as never, args, newTarget) as object;
        },
      });
    const real = { Uint8Array, Int32Array, Float64Array, Array };
    const from = Array.from.bind(Array);
    const watchedFrom = (source: { length?: number }, map?: (v: unknown, i: number) => unknown) => {
      seen(source.length);
      return map === undefined
        ? from(source as ArrayLike<unknown>)
        : from(source as ArrayLike<unknown>, map);
    };
    try {
      Object.assign(globalThis, {
        Uint8Array: watch(Uint8Array, 1),
        Int32Array: watch(Int32Array, 4),
        Array: new Proxy(watch(Array, 1), {
          get: (target, key) =>
            key === 'from' ? watchedFrom : (Reflect.get(target, key) as unknown),
        }),
      });
      work();
    } finally {
      Object.assign(globalThis, real);
    }
    return largest;
  }

  test('the watch notices an allocation', () => {
    expect(largestRequest(() => new Uint8Array(1e6))).toBe(1e6);
    expect(largestRequest(() => Array.from({ length: 1e5 }))).toBe(1e5);
  });

  test('no header makes a decoder ask for more memory than was received', () => {
    const huge = fc.constantFrom(2 ** 31 - 1, 2 ** 30, 2 ** 26, 100_000, 4_096, 65_536);
    fc.assert(
      fc.property(
        encoded,
        fc.array(fc.tuple(fc.nat(), huge), { minLength: 1, maxLength: 3 }),
        ({ direction, frames }, edits) => {
          const words = new Int32Array(frames[0]!.slice().buffer);
          for (const [at, value] of edits) words[6 + (at % Math.max(1, words.length - 6))] = value;
          const hostile = [new Uint8Array(words.buffer), ...frames.slice(1)];
          const received = messageBytes(hostile);
          const largest = largestRequest(() => {
            direction.decode(hostile);
          });
          expect(largest).toBeLessThanOrEqual(received);
        },
      ),
      { numRuns: 3_000 },
    );
  });
});
