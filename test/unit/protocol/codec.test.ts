/** @file The codec at its borders: layout that other languages rely on, limits, packing, msgpack bombs, callers' mistakes. */
import type {
  DataId,
  DoneMessage,
  DoneUnit,
  EngineToWorker,
  ExecutionId,
  HelloMessage,
  LeaseId,
  ProgramHash,
  RunInput,
  RunMessage,
  StateId,
  StateVersion,
  SumForm,
  WireError,
  WorkerId,
  WorkerToEngine,
} from '@ravenlab/protocol';
import {
  copyChunks,
  decodeEngineMessage,
  decodeWorkerMessage,
  encodeEngineMessage,
  encodeWorkerMessage,
  joinChunks,
  LIMITS,
  messageBytes,
  RavenError,
  totalBytes,
  WIRE_VERSION,
} from '@ravenlab/protocol';

const EXECUTION = (2 ** 33 + 5) as ExecutionId;
const lease = (id: number) => id as LeaseId;
const ok = (id: number, ...outputs: Uint8Array[][]): DoneUnit => ({
  lease: lease(id),
  status: 'ok',
  computeUs: 9,
  outputs,
  digest: null,
});
const done = (outputBytes: number[], ...units: DoneUnit[]): DoneMessage => ({
  kind: 'done',
  execution: EXECUTION,
  outputBytes,
  units,
});
const run = (inputs: RunInput[], units = 2): RunMessage => ({
  kind: 'run',
  execution: EXECUTION,
  program: 3,
  leaseMs: 5_000,
  merge: null,
  inputs,
  units: Array.from({ length: units }, (_, i) => ({ lease: lease(2 ** 32 + i), shard: i })),
});
const HELLO: HelloMessage = {
  kind: 'hello',
  workerId: 'ab'.repeat(32) as WorkerId,
  token: 'secret',
  incarnation: 2,
  name: 'lab 3',
  capabilities: {
    backend: 'onnx-cpu',
    device: 'EPYC',
    threads: 2,
    memoryBytes: 2 ** 33,
    gflops: 55.5,
    dtypes: ['float32', 'int32', 'bool'],
    bitClass: 'onnx-cpu/1.30/avx2/2',
  },
  payee: null,
  held: null,
};

const header = (frames: readonly Uint8Array[]): number[] => {
  const [first] = frames;
  return Array.from(new Int32Array(first!.buffer, first!.byteOffset, first!.byteLength / 4));
};
const refusal = (
  decoded: ReturnType<typeof decodeWorkerMessage> | ReturnType<typeof decodeEngineMessage>,
): string => (decoded.ok ? 'accepted' : decoded.error.message);
/** Frames whose header is `words`, with the counts in the prefix put right. */
const framesOf = (words: readonly number[], body: readonly Uint8Array[] = []): Uint8Array[] => {
  const fixed = Int32Array.from(words);
  fixed[3] = words.length;
  fixed[4] = body.length;
  return [new Uint8Array(fixed.buffer), ...body];
};
const prefix = (kind: number): number[] => [0x4c4e5652, WIRE_VERSION, kind, 0, 0, 0];

describe('layout', () => {
  test('a RUN is its prefix, the common part once and three words a unit', () => {
    const frames = encodeEngineMessage(
      run([
        { kind: 'state', stateId: 7 as StateId, version: 8 as StateVersion },
        {
          kind: 'rows',
          dataId: 9 as DataId,
          dataRows: 100,
          blockRows: 10,
          perUnit: true,
          indices: Int32Array.of(5, 6, 7, 8),
        },
        { kind: 'key', seedLow: -1, seedHigh: 2, step: 3 },
      ]),
    );
    expect(frames).toHaveLength(2);
    expect(Buffer.from(frames[0]!.subarray(0, 4)).toString('latin1')).toBe('RVNL');
    expect(header(frames)).toEqual([
      ...[0x4c4e5652, 1, 3, 32, 1, 0], // magic, version, RUN, header words, body frames, flags
      ...[5, 2, 3, 5_000, 2, 3], // execution low and high, program, lease ms, units, inputs
      ...[0, 7, 8], // state
      ...[1, 9, 100, 10, 1, 4], // rows
      ...[4, -1, 2, 3], // key
      ...[0, 1, 0], // lease 2³², shard 0
      ...[1, 1, 1], // lease 2³² + 1, shard 1
      0, // no groups
    ]);
    expect(Array.from(new Int32Array(frames[1]!.buffer))).toEqual([5, 6, 7, 8]);
  });

  test('a no-op unit costs 12 bytes down and 20 up', () => {
    const size = (units: number) => messageBytes(encodeEngineMessage(run([], units)));
    expect(size(101) - size(1)).toBe(1_200);
    const results = (units: number) =>
      messageBytes(
        encodeWorkerMessage(done([], ...Array.from({ length: units }, (_, i) => ok(i)))),
      );
    expect(results(101) - results(1)).toBe(2_000);
  });

  test('a program hash travels as its 32 bytes in order', () => {
    const hash = '00112233445566778899aabbccddeeff'.repeat(2) as ProgramHash;
    const frames = encodeEngineMessage({
      kind: 'program',
      index: 0,
      hash,
      bytes: [Uint8Array.of(1)],
    });
    expect(Buffer.from(frames[0]!.subarray(28, 60)).toString('hex')).toBe(hash);
  });
});

describe('merged units', () => {
  const merged = (groups: number[], sums: SumForm[] = ['float32']) =>
    encodeEngineMessage({ ...run([], 4), merge: { groups, sums } });

  test('groups and the outputs to add up come back as they were', () => {
    const decoded = decodeEngineMessage(merged([2, 1, 1], ['float32', 'first', 'int8']));
    expect(decoded).toMatchObject({
      ok: true,
      value: { merge: { groups: [2, 1, 1], sums: ['float32', 'first', 'int8'] } },
    });
  });

  test.each([[[3, 1]], [[2, 1]], [[4, 4]], [[]]])('groups %j of 4 units are refused', (groups) => {
    expect(() => merged(groups)).toThrow('not powers of two that add up to 4 units');
  });
});

describe('segments', () => {
  const bytesOf = (length: number, seed: number) => new Uint8Array(length).fill(seed);

  test('small ones share a frame at multiples of 8 bytes, large ones are cut at 1 MiB', () => {
    const sizes = [4, 4, 0, LIMITS.packBelowBytes, 3 * LIMITS.frameBytes + 5, 1];
    const frames = encodeWorkerMessage(
      done(sizes, ok(1, ...sizes.map((size, i) => [bytesOf(size, i + 1)]))),
    );
    expect(frames.slice(1).map((frame) => frame.length)).toEqual([
      12, // 4 + 4 of padding + 4
      LIMITS.packBelowBytes,
      ...[LIMITS.frameBytes, LIMITS.frameBytes, LIMITS.frameBytes, 5],
      1,
    ]);
    const decoded = decodeWorkerMessage(frames);
    if (!decoded.ok || decoded.value.kind !== 'done') throw new Error('expected a DONE');
    const [unit] = decoded.value.units;
    if (unit?.status !== 'ok' || unit.outputs === null) throw new Error('expected outputs');
    unit.outputs.forEach((chunks, i) => {
      expect(Buffer.compare(joinChunks(chunks), bytesOf(sizes[i]!, i + 1))).toBe(0);
    });
  });

  test('a shared frame ends where the next segment would pass 1 MiB', () => {
    const each = LIMITS.packBelowBytes - 8;
    const count = Math.floor(LIMITS.frameBytes / each) + 1;
    const units = Array.from({ length: count }, (_, i) => ok(i, [bytesOf(each, i)]));
    const frames = encodeWorkerMessage(done([each], ...units));
    expect(frames.slice(1).map((frame) => frame.length)).toEqual([(count - 1) * each, each]);
    expect(decodeWorkerMessage(frames).ok).toBe(true);
  });

  test('large tensors are sent and received without a copy', () => {
    const tensor = new Uint8Array(2 * LIMITS.frameBytes);
    const frames = encodeWorkerMessage(done([tensor.length], ok(1, [tensor])));
    expect(frames[1]!.buffer).toBe(tensor.buffer);
    const decoded = decodeWorkerMessage(frames);
    if (!decoded.ok || decoded.value.kind !== 'done') throw new Error('expected a DONE');
    const [unit] = decoded.value.units;
    expect(unit?.status === 'ok' && unit.outputs?.[0]?.[1]?.buffer).toBe(tensor.buffer);
  });

  test('shared memory can be sent', () => {
    const shared = new Uint8Array(new SharedArrayBuffer(8)).fill(7);
    const frames = encodeWorkerMessage(done([8], ok(1, [shared])));
    expect(Array.from(frames[1]!)).toEqual(new Array(8).fill(7));
  });

  test('chunks are put together where the caller wants them', () => {
    const chunks = [Uint8Array.of(1, 2), Uint8Array.of(), Uint8Array.of(3)];
    expect(totalBytes(chunks)).toBe(3);
    expect(Array.from(joinChunks(chunks))).toEqual([1, 2, 3]);
    const target = new Uint8Array(5);
    copyChunks(chunks, target, 1);
    expect(Array.from(target)).toEqual([0, 1, 2, 3, 0]);
  });
});

describe('a decoder refuses', () => {
  const engine = (message: EngineToWorker) => header(encodeEngineMessage(message));
  const set = (words: readonly number[], at: number, value: number) =>
    words.map((word, i) => (i === at ? value : word));
  const PING = engine({ kind: 'ping', seq: 1, sentMs: 2 });
  const RUN = engine(run([{ kind: 'data', dataId: 1 as DataId, dataRows: 10, blockRows: 5 }]));
  const tiny = new Uint8Array(4);
  const cases: readonly (readonly [string, Uint8Array[], RegExp])[] = [
    ['nothing', [], /header of 0 bytes/],
    ['an odd header', [new Uint8Array(25)], /25 bytes are not a whole number/],
    ['a huge header', [new Uint8Array(LIMITS.headerWords * 4 + 4)], /header of 1048580 bytes/],
    ['another magic', framesOf(set(PING, 0, 1)), /does not start with RVNL/],
    [
      'another version',
      framesOf(set(PING, 1, 2)),
      /wire version 2, this side speaks 1; use equal releases/,
    ],
    ['an unknown kind', framesOf(set(PING, 2, 99)), /kind 99 is unknown/],
    ["a worker's message", encodeWorkerMessage(HELLO), /kind 16 is unknown or goes the other way/],
    ['flags of the future', framesOf(set(PING, 5, 1)), /flags: expected 0 … 0, got 1/],
    [
      'a stated size that is wrong',
      [new Uint8Array(Int32Array.from(set(PING, 3, 8)).buffer)],
      /header of 8 words/,
    ],
    ['a body that nobody announced', [...framesOf(PING), tiny], /0 body frames announced, 1 came/],
    ['a body that nobody reads', framesOf(PING, [tiny]), /1 frames after the end/],
    ['a short header', framesOf(PING.slice(0, -1)), /ends before sent ms/],
    ['a long header', framesOf([...PING, 0]), /1 words after the end/],
    ['a RUN without units', framesOf([...prefix(3), 0, 0, 0, 0, 0, 0]), /a RUN without units/],
    [
      'more units than words',
      framesOf([...prefix(3), 0, 0, 0, 0, 4_096, 0]),
      /units: 4096 announced, 1 words left/,
    ],
    ['more units than allowed', framesOf(set(RUN, 10, 2 ** 30)), /units: expected 0 … 4096/],
    ['no rows to a block', framesOf(set(RUN, 15, 0)), /block rows: expected 1/],
    [
      'a lease beyond 2⁵³',
      framesOf(set(RUN, 17, 2 ** 30)),
      /lease: expected an integer in 0 … 2\^53-1/,
    ],
    ['a negative lease', framesOf(set(RUN, 17, -1)), /lease: expected an integer/],
    ['an unknown input kind', framesOf(set(RUN, 12, 5)), /input kind: unknown code 5/],
    ['a negative code', framesOf(set(RUN, 12, -1)), /input kind: unknown code -1/],
  ];
  test.each(cases)('%s', (_title, frames, message) => {
    expect(refusal(decodeEngineMessage(frames))).toMatch(message);
  });

  test('row indices outside the data', () => {
    const rows = (indices: Int32Array) =>
      run([
        { kind: 'rows', dataId: 1 as DataId, dataRows: 10, blockRows: 5, perUnit: false, indices },
      ]);
    const decode = (...indices: number[]) =>
      refusal(decodeEngineMessage(encodeEngineMessage(rows(Int32Array.from(indices)))));
    expect(decode(0, 9)).toBe('accepted');
    expect(decode(0, 10)).toMatch(/row 10 is not one of 10 rows/);
    expect(decode(-1)).toMatch(/row -1 is not one of 10 rows/);
  });

  test('an inline tensor of more elements than exist', () => {
    const shape = [8, ...new Array<number>(8).fill(2 ** 31 - 1)];
    const words = [...prefix(3), 0, 0, 0, 0, 1, 1, 3, 0, ...shape, 0, 0, 0, 0];
    expect(refusal(decodeEngineMessage(framesOf(words)))).toMatch(
      /inline type 0 has shape .* more than/,
    );
  });

  test('a piece outside its tensor, and a tensor larger than any', () => {
    const piece = (offset: number[], total: number[], bytes: number) =>
      framesOf(
        [...prefix(4), 1, 0, 1, 1, ...offset, ...total, bytes],
        bytes > 0 ? [new Uint8Array(bytes)] : [],
      );
    expect(decodeEngineMessage(piece([4, 0], [8, 0], 4)).ok).toBe(true);
    expect(refusal(decodeEngineMessage(piece([5, 0], [8, 0], 4)))).toMatch(
      /piece 5 \+ 4 is outside a tensor of 8 bytes/,
    );
    expect(refusal(decodeEngineMessage(piece([0, 0], [0, 2 ** 20], 4)))).toMatch(
      /at most 8589934588/,
    );
  });

  test('many empty outputs of many units: a small message that would become a large object', () => {
    const outputs = new Array<number>(2 * 4_096).fill(0);
    const units = Array.from({ length: 17 }, () => [0, 0, 0, 0, 0]).flat();
    const words = [...prefix(19), 0, 0, 4_096, ...outputs, 0, 17, ...units];
    expect(refusal(decodeWorkerMessage(framesOf(words)))).toMatch(/more than 65536 segments/);
  });

  test('an error or an output that does not exist', () => {
    const unit = (status: number, detail: number) =>
      framesOf([...prefix(19), 0, 0, 1, 4, 0, 0, 1, 0, 0, status, 0, detail]);
    expect(refusal(decodeWorkerMessage(unit(1, 1)))).toMatch(/there is no output 1/);
    expect(refusal(decodeWorkerMessage(unit(3, 0)))).toMatch(/there is no error 0/);
    expect(refusal(decodeWorkerMessage(unit(2, 1)))).toMatch(/detail of a cancelled unit is 0/);
    expect(refusal(decodeWorkerMessage(unit(0, 4)))).toMatch(/detail of an ok unit is 0 … 3/);
    expect(refusal(decodeWorkerMessage(unit(0, 2)))).toMatch(/ends before hash/);
    expect(decodeWorkerMessage(unit(0, 1)).ok).toBe(true);
  });
});

describe('an encoder tells its caller', () => {
  const value = (bytes: number): Uint8Array[] => [new Uint8Array(bytes)];
  const inline = (perUnit: boolean, ...values: Uint8Array[][]): RunInput => ({
    kind: 'inline',
    type: { dtype: 'float32', shape: [2] },
    perUnit,
    values,
  });
  const cases: readonly (readonly [string, () => unknown, RegExp])[] = [
    [
      'too few values',
      () => encodeEngineMessage(run([inline(true, value(8))])),
      /run: 1 inline values, expected 2/,
    ],
    [
      'a value of another size',
      () => encodeEngineMessage(run([inline(false, value(4))])),
      /inline value of 4 bytes, its type has 8/,
    ],
    [
      'indices that do not divide',
      () =>
        encodeEngineMessage(
          run([
            {
              kind: 'rows',
              dataId: 1 as DataId,
              dataRows: 9,
              blockRows: 3,
              perUnit: true,
              indices: Int32Array.of(1, 2, 3),
            },
          ]),
        ),
      /3 row indices for 2 units/,
    ],
    ['no units', () => encodeEngineMessage(run([], 0)), /units: expected 1 … 4096, got 0/],
    [
      'too many units',
      () => encodeEngineMessage(run([], 4_097)),
      /units: expected 1 … 4096, got 4097/,
    ],
    [
      'a fractional id',
      () =>
        encodeEngineMessage(
          run([{ kind: 'data', dataId: 0.5 as DataId, dataRows: 1, blockRows: 1 }]),
        ),
      /data id: 0.5 is not an int32/,
    ],
    ['a missing output', () => encodeWorkerMessage(done([4], ok(1))), /0 outputs, expected 1/],
    [
      'an output of another size',
      () => encodeWorkerMessage(done([4], ok(1, value(8)))),
      /output 0 has 8 bytes, expected 4/,
    ],
    [
      'an unsafe lease',
      () => encodeWorkerMessage(done([], ok(2 ** 53))),
      /lease: expected an integer in 0 … 2\^53-1, got 9007199254740992/,
    ],
    [
      'a hash that is none',
      () =>
        encodeEngineMessage({
          kind: 'program',
          index: 0,
          hash: 'AB' as ProgramHash,
          bytes: value(1),
        }),
      /expected 64 hex digits, got "AB"/,
    ],
    [
      'a long name',
      () => encodeWorkerMessage({ ...HELLO, name: 'x'.repeat(65) }),
      /hello.name: expected a string of at most 64 characters/,
    ],
    [
      'a negative amount',
      () => encodeEngineMessage({ kind: 'meter', committedUnits: 1, earnedUnits: -1n }),
      /meter.earnedUnits: expected decimal base units/,
    ],
    [
      'too many bytes',
      () =>
        encodeWorkerMessage(
          done(
            new Array<number>(3).fill(2 ** 27),
            ok(1, ...new Array<Uint8Array[]>(3).fill(value(2 ** 27))),
          ),
        ),
      /a message holds at most 268435456 bytes/,
    ],
  ];
  test.each(cases)('%s', (_title, encode, message) => {
    expect(encode).toThrow(RavenError);
    expect(encode).toThrow(message);
  });

  test('errors beyond the limit are told as the last one, long texts are cut', () => {
    const failed = (i: number): DoneUnit => {
      const error: WireError = {
        code: 'shape',
        message: `${String(i)} `.padEnd(3_000, 'x'),
        fault: 'user',
        retryable: false,
      };
      return { lease: lease(i), computeUs: 0, status: 'failed', error };
    };
    const units = Array.from({ length: 20 }, (_, i) => failed(i));
    const decoded = decodeWorkerMessage(encodeWorkerMessage(done([], ...units)));
    if (!decoded.ok || decoded.value.kind !== 'done') throw new Error('expected a DONE');
    const messages = decoded.value.units.map((unit) =>
      unit.status === 'failed' ? unit.error.message : '',
    );
    expect(messages.map((text) => parseInt(text, 10))).toEqual([
      ...Array(16).keys(),
      15,
      15,
      15,
      15,
    ]);
    expect(messages[0]).toHaveLength(LIMITS.errorChars);
  });
});

describe('msgpack is refused before it is decoded:', () => {
  const hello = (hex: string) => {
    const body = Buffer.from(hex, 'hex');
    return decodeWorkerMessage(framesOf([...prefix(16), body.length], [body]));
  };
  const cases: readonly (readonly [string, string, RegExp])[] = [
    ['an array of 2³² items', 'ddffffffff', /4294967295 items announced, 0 bytes left/],
    ['a map of 2²⁵ entries', 'df02000000', /33554432 items announced/],
    ['text longer than the bytes', 'dbffffffff', /4294967295 more are needed/],
    ['an extension', 'd40001', /type 0xd4 is not allowed/],
    ['a timestamp', 'd6ff00000000', /type 0xd6 is not allowed/],
    ['binary data', 'c40100', /type 0xc4 is not allowed/],
    ['the unused type', 'c1', /type 0xc1 is not allowed/],
    ['numbers as keys', '8101a161', /map keys must be text/],
    ['nesting', '91'.repeat(40) + 'c0', /nested deeper than 8/],
    ['two values', 'c0c0', /1 bytes after the end/],
    ['a cut number', 'cb00', /8 more are needed/],
    ['nil', 'c0', /hello: expected an object, got null/],
    ['an empty map', '80', /hello.workerId: expected 64 lower-case hex digits/],
  ];
  test.each(cases)('%s', (_title, hex, message) => {
    expect(refusal(hello(hex))).toMatch(message);
  });

  test('more values than allowed', () => {
    const items = LIMITS.controlValues;
    const bytes = Buffer.alloc(5 + items, 0xc0);
    bytes[0] = 0xdd;
    bytes.writeUInt32BE(items, 1);
    expect(refusal(hello(bytes.toString('hex')))).toMatch(/more than 16384 values/);
  });

  test('more bytes than allowed', () => {
    expect(refusal(hello('00'.repeat(LIMITS.controlBytes + 1)))).toMatch(
      /control bytes: expected 0 … 262144/,
    );
  });

  /** msgpack of a HELLO with one more field, by hand: fixmap of 7. */
  const withField = (name: string, valueHex: string) => {
    const frames = encodeWorkerMessage(HELLO);
    const body = Buffer.from(frames[1]!);
    const entries = body.subarray(body[0] === 0xde ? 3 : 1);
    const key = Buffer.from(name);
    // All of HELLO but its kind, and one more.
    const map = 0x80 + Object.keys(HELLO).length;
    return hello(
      Buffer.concat([Buffer.of(map), entries, Buffer.of(0xa0 + key.length), key]).toString('hex') +
        valueHex,
    );
  };

  test('a field that a newer worker added is dropped', () => {
    expect(withField('mood', 'a573756e6e79')).toEqual({ ok: true, value: HELLO });
  });

  test('__proto__ changes no object', () => {
    const decoded = withField('__proto__', '81a5746f6b656ea478787878');
    expect(decoded).toEqual({ ok: true, value: HELLO });
    expect(({} as Record<string, unknown>)['token']).toBeUndefined();
  });
});

test('money keeps every digit', () => {
  const message: EngineToWorker = {
    kind: 'meter',
    committedUnits: 5,
    earnedUnits: 10n ** 60n + 1n,
  };
  expect(decodeEngineMessage(encodeEngineMessage(message))).toEqual({ ok: true, value: message });
});

test('a message of another version can be told from garbage, so that the peer can be told to update', () => {
  const frames = encodeWorkerMessage({ kind: 'credit', consumedBytes: 1 } satisfies WorkerToEngine);
  new Int32Array(frames[0]!.buffer, frames[0]!.byteOffset)[1] = 2;
  const decoded = decodeWorkerMessage(frames);
  expect(decoded.ok ? {} : decoded.error.meta).toEqual({ wireVersion: 2 });
});
