/** @file The pipe's messages there and back, and what becomes of those that no honest compute process would send. */
import type { DataId, ExecutionId, ProgramHash } from '@ravenlab/protocol';
import { LIMITS, RemoteProtocolError } from '@ravenlab/protocol';
import type { ToCompute, UnitOutcome } from '../../../../../worker/src/compute/computeMessages.js';
import type { FromChild } from '../../../../../worker/src/compute/sandbox/pipeMessages.js';
import {
  decodeFromChild,
  decodeToChild,
  encodeFromChild,
  encodeToChild,
} from '../../../../../worker/src/compute/sandbox/pipeMessages.js';

const HASH = 'ab'.repeat(32) as ProgramHash;
const FRAME_BYTES = 1 << 20;

const TO_CHILD: readonly ToCompute[] = [
  { kind: 'program', hash: HASH, bytes: Uint8Array.of(1, 2, 3) },
  { kind: 'tensor', key: 's1@1', bytes: new Uint8Array(0) },
  { kind: 'tensor', key: 's1@2', bytes: new Uint8Array(LIMITS.packBelowBytes + 3).fill(7) },
  {
    kind: 'batch',
    execution: 7 as ExecutionId,
    batch: 3,
    hash: HASH,
    shards: Int32Array.of(4, 5),
    inputs: [
      { kind: 'state', key: 's1@1' },
      {
        ...{ kind: 'rows', dataId: 9 as DataId, blockRows: 2, perUnit: true },
        indices: Int32Array.of(-1, 2 ** 31 - 1),
      },
      { kind: 'data', dataId: 9 as DataId, dataRows: 4, blockRows: 2 },
      { kind: 'inline', perUnit: false, bytes: Uint8Array.of(9, 8, 7, 6) },
      { kind: 'key', seedLow: -5, seedHigh: 6, step: 7 },
    ],
    merge: { groups: [2], sums: ['float32', 'int8'] },
  },
  { kind: 'skip', batch: 3, units: [0, 1] },
  { kind: 'forget', keys: ['s1@1'] },
  { kind: 'forgetProgram', hash: HASH },
  { kind: 'stop' },
];

test.each(TO_CHILD.map((message) => [message.kind, message] as const))(
  'a %s arrives at the process as it left the worker',
  (_kind, message) => {
    expect(decodeToChild(encodeToChild(message, FRAME_BYTES)).message).toEqual(message);
  },
);

test('a tensor that is longer than a frame is cut, and whole again on the other side', () => {
  const bytes = Uint8Array.from({ length: 1000 }, (_, i) => i);
  const frames = encodeToChild({ kind: 'tensor', key: 's1@1', bytes }, 300);
  expect(frames.map(({ byteLength }) => byteLength).slice(1)).toEqual([300, 300, 300, 100]);
  const { message, transfer } = decodeToChild(frames);
  expect(message).toMatchObject({ kind: 'tensor', bytes });
  expect(transfer).toHaveLength(1);
});

test('no two arrays that are handed on share a buffer', () => {
  const frames = encodeToChild(TO_CHILD[3]!, FRAME_BYTES);
  const slab = Buffer.concat(frames);
  let at = 0;
  const shared = frames.map(({ byteLength }) => slab.subarray(at, (at += byteLength)));
  const { transfer } = decodeToChild(shared);
  expect(new Set(transfer).size).toBe(3);
  expect(transfer).not.toContain(slab.buffer);
});

const OK: UnitOutcome = {
  ...{ unit: 0, status: 'ok', computeUs: 12, output: -1, error: null },
  outputs: [Uint8Array.of(1, 2), Uint8Array.of(3)],
};
const FAILED: UnitOutcome = {
  ...{ unit: 1, status: 'failed', computeUs: 0, output: -1, outputs: [] },
  error: { code: 'limit', message: 'no', fault: 'local', retryable: true },
};

test('results arrive at the worker as they left the process, in as many messages as they need', () => {
  const digest = `0x${'cd'.repeat(32)}` as const;
  const outcomes = [{ ...OK, digest: digest as never }, FAILED];
  const message: FromChild = { kind: 'results', batch: 4, outcomes };
  expect(encodeFromChild(message, 10).map(decodeFromChild)).toEqual([message]);
  const many: FromChild = { kind: 'results', batch: 4, outcomes: [OK, OK, FAILED] };
  const parts = encodeFromChild(many, 3).map(decodeFromChild);
  expect(parts.map((part) => part.kind === 'results' && part.outcomes.length)).toEqual([1, 2]);
});

const HOSTILE: readonly (readonly [string, unknown])[] = [
  ['no object', 7],
  ['an unknown kind', { kind: 'constructor' }],
  ['a beat of minus one', { kind: 'beat', busyMs: -1 }],
  ['a name without end', { kind: 'ready', deviceName: 'x'.repeat(LIMITS.controlBytes + 1) }],
  ['a speed that is no number', { kind: 'ready', deviceName: '', version: '', gflops: 'fast' }],
  ['outcomes that are no list', { kind: 'results', batch: 1, outcomes: { length: 1 } }],
  ['a unit beyond any message', { kind: 'results', batch: 1, outcomes: [{ ...OK, unit: 1e9 }] }],
  [
    'an array that is not there',
    { kind: 'results', batch: 1, outcomes: [{ ...OK, outputs: [1] }] },
  ],
  ['the header as an array', { kind: 'results', batch: 1, outcomes: [{ ...OK, outputs: [0] }] }],
  ['a digest that is none', { kind: 'results', batch: 1, outcomes: [{ ...FAILED, digest: '0x' }] }],
  ['an error of no code', { kind: 'unavailable', error: { ...FAILED.error, code: 'ENOENT' } }],
];

test.each(HOSTILE)('%s is refused', (_what, header) => {
  expect(() => decodeFromChild([Buffer.from(JSON.stringify(header))])).toThrow(RemoteProtocolError);
});

test('what is no JSON is refused', () => {
  expect(() => decodeFromChild([Buffer.from('{')])).toThrow(/header that is not JSON/);
});
